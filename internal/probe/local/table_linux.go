// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

// Package local tells packet programs which addresses are this host's: those that the kernel
// routes as local. It fills the tables of bpf/tc/addresses.h.
package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// AddressSize is that of an address in the table, in bytes.
const AddressSize = unsafe.Sizeof(shared.Address{})

// TableName is the map of single addresses, a variable of the programs.
const TableName = ".data.addresses"

// Table mirrors the local addresses of an object's programs: single addresses and prefixes.
// One goroutine at a time uses it.
type Table struct {
	logger *zap.Logger
	// overflowing is set if the programs' tables have no room for all local addresses.
	overflowing bool

	table  *ebpf.Map
	places []netip.Addr // invalid = free

	prefixes *ebpf.Map
	// entered prefixes are in the map. anyEntered tells the programs to look them up.
	entered    map[netip.Prefix]bool
	anyEntered *ebpf.Variable
}

// New makes the table of the programs of an object.
func New(objects *ebpf.Collection, logger *zap.Logger) *Table {
	table := objects.Maps[TableName]
	return &Table{
		logger:     logger,
		table:      table,
		places:     make([]netip.Addr, table.ValueSize()/uint32(AddressSize)),
		prefixes:   objects.Maps["local_prefixes"],
		entered:    make(map[netip.Prefix]bool),
		anyEntered: objects.Variables["any_local_prefixes"],
	}
}

// Set replaces the local addresses by these, IPv4 mapped. It returns how many of them found
// no room. It adds new ones before it removes old ones.
func (t *Table) Set(local map[netip.Prefix]bool) (left int, err error) {
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

// MappedBits is the difference in length of an IPv4-mapped prefix and its IPv4 prefix.
const MappedBits = 96

// isLoopback4 reports whether an address is in 127.0.0.0/8.
func isLoopback4(prefix netip.Prefix) bool {
	return prefix.Bits() >= MappedBits+8 && prefix.Addr().Unmap().Is4() && prefix.Addr().Unmap().IsLoopback()
}

func (t *Table) enterPrefixes(prefixes map[netip.Prefix]bool) (left int, err error) {
	for prefix := range prefixes {
		if t.entered[prefix] {
			continue
		}
		err := t.prefixes.Put(PrefixKey(prefix), uint8(1))
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
		if err := t.prefixes.Delete(PrefixKey(prefix)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return left, fmt.Errorf("remove the local prefix %s: %w", prefix, err)
		}
		delete(t.entered, prefix)
	}
	return left, t.tellEntered()
}

func (t *Table) tellEntered() error {
	if err := t.anyEntered.Set(len(t.entered) > 0); err != nil {
		return fmt.Errorf("enable local prefixes in the packet programs: %w", err)
	}
	return nil
}

// PrefixKey is a prefix as a key of local_prefixes in bpf/tc/addresses.h.
func PrefixKey(prefix netip.Prefix) []byte {
	address := prefix.Addr().As16()
	return append(binary.NativeEndian.AppendUint32(nil, uint32(prefix.Bits())), address[:]...)
}

func (t *Table) enter(address netip.Addr) (bool, error) {
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

func (t *Table) write(place int, address netip.Addr) error {
	var raw [AddressSize]byte
	if address.IsValid() {
		raw = address.As16()
	}
	if err := shared.WriteAt(t.table, int64(place)*int64(AddressSize), raw[:]); err != nil {
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

// Entered counts the single addresses and the prefixes that the programs have.
func (t *Table) Entered() (single, prefixes int) {
	for _, place := range t.places {
		if place.IsValid() {
			single++
		}
	}
	return single, len(t.entered)
}
