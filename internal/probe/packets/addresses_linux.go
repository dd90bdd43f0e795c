// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package packets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

const addressSize = unsafe.Sizeof(shared.Address{})

// addressTable mirrors the local addresses of the kernel's programs: single addresses and
// prefixes.
type addressTable struct {
	table  *ebpf.Map
	places []netip.Addr // invalid = free

	prefixes *ebpf.Map
	// entered prefixes are in the map. anyEntered tells the programs to look them up.
	entered    map[netip.Prefix]bool
	anyEntered *ebpf.Variable
}

func newAddressTable(objects *ebpf.Collection) *addressTable {
	table := objects.Maps[addressesTable]
	return &addressTable{
		table:      table,
		places:     make([]netip.Addr, table.ValueSize()/uint32(addressSize)),
		prefixes:   objects.Maps["local_prefixes"],
		entered:    make(map[netip.Prefix]bool),
		anyEntered: objects.Variables["any_local_prefixes"],
	}
}

// set replaces the local addresses by these, IPv4 mapped. It returns how many of them found
// no room. It adds new ones before it removes old ones.
func (t *addressTable) set(local map[netip.Prefix]bool) (left int, err error) {
	single := make(map[netip.Addr]bool, len(local))
	prefixes := make(map[netip.Prefix]bool)
	for prefix := range local {
		if isLoopback4(prefix) {
			continue // the programs know
		}
		fits := false
		if prefix.IsSingleIP() {
			if fits, err = t.enter(prefix.Addr()); err != nil {
				return left, err
			}
		}
		if fits {
			single[prefix.Addr()] = true
		} else {
			prefixes[prefix] = true
		}
	}
	if left, err = t.enterPrefixes(prefixes); err != nil {
		return left, err
	}
	for place, address := range t.places {
		if address.IsValid() && !single[address] {
			if err := t.write(place, netip.Addr{}); err != nil {
				return left, err
			}
		}
	}
	return left, nil
}

// mappedBits is the difference in length of an IPv4-mapped prefix and its IPv4 prefix.
const mappedBits = 96

// isLoopback4 reports whether an address is in 127.0.0.0/8.
func isLoopback4(prefix netip.Prefix) bool {
	return prefix.Bits() >= mappedBits+8 && prefix.Addr().Unmap().Is4() && prefix.Addr().Unmap().IsLoopback()
}

func (t *addressTable) enterPrefixes(prefixes map[netip.Prefix]bool) (left int, err error) {
	for prefix := range prefixes {
		if t.entered[prefix] {
			continue
		}
		err := t.prefixes.Put(prefixKey(prefix), uint8(1))
		switch {
		case errors.Is(err, unix.ENOSPC):
			left++
			continue
		case err != nil:
			return left, fmt.Errorf("add the local prefix %s: %w", prefix, err)
		}
		t.entered[prefix] = true
	}
	if err := t.tellEntered(); err != nil {
		return left, err
	}
	for prefix := range t.entered {
		if prefixes[prefix] {
			continue
		}
		if err := t.prefixes.Delete(prefixKey(prefix)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return left, fmt.Errorf("remove the local prefix %s: %w", prefix, err)
		}
		delete(t.entered, prefix)
	}
	return left, t.tellEntered()
}

func (t *addressTable) tellEntered() error {
	if err := t.anyEntered.Set(len(t.entered) > 0); err != nil {
		return fmt.Errorf("enable local prefixes in the packet programs: %w", err)
	}
	return nil
}

// prefixKey is the key of local_prefixes in bpf/tc/addresses.h.
func prefixKey(prefix netip.Prefix) []byte {
	address := prefix.Addr().As16()
	return append(binary.NativeEndian.AppendUint32(nil, uint32(prefix.Bits())), address[:]...)
}

func (t *addressTable) enter(address netip.Addr) (bool, error) {
	free := -1
	hash := int(addressHash(address))
	for probe := range int(shared.LocalAddressProbes) {
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

func (t *addressTable) write(place int, address netip.Addr) error {
	var raw [addressSize]byte
	if address.IsValid() {
		raw = address.As16()
	}
	if err := shared.WriteAt(t.table, int64(place)*int64(addressSize), raw[:]); err != nil {
		return fmt.Errorf("write the table of local addresses: %w", err)
	}
	t.places[place] = address
	return nil
}

// addressHash is address_hash of bpf/tc/addresses.h.
func addressHash(address netip.Addr) uint32 {
	raw := address.As16()
	hash := binary.NativeEndian.Uint32(raw[0:])
	for at := 4; at < len(raw); at += 4 {
		hash = hash*uint32(shared.LocalAddressFactor) + binary.NativeEndian.Uint32(raw[at:])
	}
	hash = (hash ^ hash>>15) * uint32(shared.LocalAddressMixer)
	return hash ^ hash>>13
}
