// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package shared

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// PortTableSize is the number of ports, one byte each.
const PortTableSize = 65536

// NewPortTable makes an empty table of the kind that port_tables of bpf/lib/maps.h holds.
func NewPortTable() (*ebpf.Map, error) {
	return ebpf.NewMap(&ebpf.MapSpec{
		Name:       "port_table",
		Type:       ebpf.Array,
		KeySize:    4,
		ValueSize:  PortTableSize,
		MaxEntries: 1,
		Flags:      unix.BPF_F_MMAPABLE,
	})
}

// MarkPort sets whether a port has a listener.
func MarkPort(table *ebpf.Map, port uint32, on bool) error {
	var place PortPlace
	if on {
		place = PortPlaceListens
	}
	return PlacePort(table, port, place)
}

// PlacePort sets what a table has of a port; 0 is no listener. A table has the ports in network
// byte order.
func PlacePort(table *ebpf.Map, port uint32, place PortPlace) error {
	if err := WriteAt(table, int64(bits.ReverseBytes16(uint16(port))), []byte{byte(place)}); err != nil {
		return fmt.Errorf("write port %d of a port table: %w", port, err)
	}
	return nil
}

// NewPortSYNs makes the counters that port_syns of bpf/sources/segments.h stands for.
func NewPortSYNs() (*ebpf.Map, error) {
	return ebpf.NewMap(&ebpf.MapSpec{
		Name:       "port_syns",
		Type:       ebpf.PerCPUArray,
		KeySize:    4,
		ValueSize:  8,
		MaxEntries: uint32(PortPlaces),
	})
}

// WriteAt changes a part of a map of one value, while programs read it.
func WriteAt(table *ebpf.Map, offset int64, part []byte) error {
	memory, err := table.Memory()
	if err != nil {
		return fmt.Errorf("map %s: %w", table, err)
	}
	_, err = memory.WriteAt(part, offset)
	return err
}

// CountEntries counts the keys of a hash map; approximate while the kernel writes.
func CountEntries(m *ebpf.Map) (int, error) {
	key := make([]byte, m.KeySize())
	next := make([]byte, m.KeySize())
	entries := 0
	err := m.NextKey(nil, &next)
	for ; err == nil && entries < int(m.MaxEntries()); err = m.NextKey(&key, &next) {
		key, next = next, key
		entries++
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return entries, err
	}
	return entries, nil
}
