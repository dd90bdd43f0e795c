// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// Size and reach of the kernel's table, as in bpf/tc.bpf.c.
const (
	tcAddressProbes = 8
	tcAddressFactor = 0x9e3779b1
	tcAddressMixer  = 0x85ebca6b
)

const tcAddressSize = 16

// tcAddressTable mirrors the kernel's table of local addresses.
type tcAddressTable struct {
	table  *ebpf.Map
	places []netip.Addr // invalid = free
}

func newTCAddressTable(table *ebpf.Map) *tcAddressTable {
	return &tcAddressTable{table: table, places: make([]netip.Addr, table.ValueSize()/tcAddressSize)}
}

// set makes the table hold exactly these addresses. It returns how many of them
// found no room. New ones are entered before old ones are removed.
func (t *tcAddressTable) set(addresses map[netip.Addr]bool) (left int, err error) {
	for address := range addresses {
		fits, err := t.enter(address)
		if err != nil {
			return left, err
		}
		if !fits {
			left++
		}
	}
	for place, address := range t.places {
		if address.IsValid() && !addresses[address] {
			if err := t.write(place, netip.Addr{}); err != nil {
				return left, err
			}
		}
	}
	return left, nil
}

func (t *tcAddressTable) enter(address netip.Addr) (bool, error) {
	free := -1
	hash := int(tcAddressHash(address))
	for probe := range tcAddressProbes {
		place := (hash + probe) % len(t.places)
		if t.places[place] == address {
			return true, nil
		}
		if free < 0 && !t.places[place].IsValid() {
			free = place
		}
	}
	if free < 0 {
		return false, nil
	}
	return true, t.write(free, address)
}

func (t *tcAddressTable) write(place int, address netip.Addr) error {
	var raw [tcAddressSize]byte
	if address.IsValid() {
		raw = address.As16()
	}
	if err := writeTable(t.table, int64(place)*tcAddressSize, raw[:]); err != nil {
		return fmt.Errorf("write the table of local addresses: %w", err)
	}
	t.places[place] = address
	return nil
}

// tcAddressHash is address_hash of bpf/tc.bpf.c.
func tcAddressHash(address netip.Addr) uint32 {
	raw := address.As16()
	hash := binary.NativeEndian.Uint32(raw[0:])
	for at := 4; at < len(raw); at += 4 {
		hash = hash*tcAddressFactor + binary.NativeEndian.Uint32(raw[at:])
	}
	hash = (hash ^ hash>>15) * tcAddressMixer
	return hash ^ hash>>13
}
