// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package packets

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// totals are both directions of one interface.
type totals [tc.Directions]shared.InterfaceCounters

func (t *totals) add(other *totals) { t.each(other, func(to *uint64, n uint64) { *to += n }) }

func (t *totals) subtract(other *totals) {
	t.each(other, func(to *uint64, n uint64) { *to -= n })
}

func (t *totals) each(other *totals, apply func(*uint64, uint64)) {
	for d := range t {
		to, from := &t[d], &other[d]
		for i := range to.Packets {
			apply(&to.Packets[i], from.Packets[i])
			apply(&to.Bytes[i], from.Bytes[i])
		}
		for i := range to.Malformed {
			apply(&to.Malformed[i], from.Malformed[i])
		}
		apply(&to.Fragments, from.Fragments)
		apply(&to.Forwarded, from.Forwarded)
	}
}

// Slot 0 counts for interfaces without a slot of their own, because there are more than
// slots or because two indexes collide. It is reported under this name.
const otherInterfaces = "_other"

// interfaceSize is the size of an entry of the kernel's table of interfaces.
const interfaceSize = 8

// maxGoneInterfaces bounds the names whose totals outlive the interface. Totals of further
// ones are added to otherInterfaces.
const maxGoneInterfaces = 128

// counters assigns slots of the kernel's counters. It keeps the totals of vanished
// interfaces by name, so that no total ever falls.
type counters struct {
	// places mirrors the kernel's table of interfaces with a slot.
	places        []int
	table, values *ebpf.Map
	free          []uint32
	gone          map[string]*totals
}

func newCounters(maps map[string]*ebpf.Map) *counters {
	c := &counters{table: maps[interfacesTable], values: maps["packet_counters"], gone: make(map[string]*totals)}
	c.places = make([]int, c.table.ValueSize()/interfaceSize)
	for slot := c.values.MaxEntries()/uint32(tc.Directions) - 1; slot > 0; slot-- {
		c.free = append(c.free, slot)
	}
	return c
}

// assign zeroes a slot and enters it for the interface. It returns 0 if none is left or the
// place of the index is taken.
func (c *counters) assign(index int) (uint32, error) {
	if c.places[index%len(c.places)] != 0 || len(c.free) == 0 {
		return 0, nil
	}
	slot := c.free[len(c.free)-1]
	zero := make([]shared.InterfaceCounters, ebpf.MustPossibleCPU())
	for d := range tc.Directions {
		if err := c.values.Put(slotKey(slot, d), zero); err != nil {
			return 0, fmt.Errorf("zero an interface's counters: %w", err)
		}
	}
	if err := c.enter(index, shared.InterfaceSlot{Ifindex: uint32(index), Counters: slotKey(slot, tc.Ingress)}); err != nil {
		return 0, err
	}
	c.places[index%len(c.places)] = index
	c.free = c.free[:len(c.free)-1]
	return slot, nil
}

// release frees a slot. The caller passes its counts to keep before.
func (c *counters) release(index int, slot uint32) error {
	if slot == 0 {
		return nil
	}
	c.free = append(c.free, slot)
	c.places[index%len(c.places)] = 0
	return c.enter(index, shared.InterfaceSlot{})
}

// enter writes an entry of the kernel's table. The counters come before the index, which
// makes them valid.
func (c *counters) enter(index int, entry shared.InterfaceSlot) error {
	var raw [interfaceSize]byte
	binary.NativeEndian.PutUint32(raw[0:], entry.Ifindex)
	binary.NativeEndian.PutUint32(raw[4:], entry.Counters)
	at := int64(index%len(c.places)) * interfaceSize
	err := shared.WriteAt(c.table, at+4, raw[4:])
	if err == nil {
		err = shared.WriteAt(c.table, at, raw[:4])
	}
	if err != nil {
		return fmt.Errorf("write the table of interfaces: %w", err)
	}
	return nil
}

// keep adds the counts of an interface to the totals of its name.
func (c *counters) keep(name string, counted *totals) {
	if *counted == (totals{}) {
		return
	}
	if c.gone[name] == nil && len(c.gone) >= maxGoneInterfaces {
		name = otherInterfaces
	}
	if c.gone[name] == nil {
		c.gone[name] = new(totals)
	}
	c.gone[name].add(counted)
}

// keepOther adds the counts of interfaces that have no totals of their own.
func (n *namespace) keepOther(interfaces []packet.Interface) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.counts == nil {
		return
	}
	for i := range interfaces {
		one := &interfaces[i]
		d := tc.Ingress
		if one.Egress {
			d = tc.Egress
		}
		var counted totals
		counted[d] = shared.InterfaceCounters{
			Packets:   one.Packets,
			Bytes:     one.Bytes,
			Malformed: one.Malformed,
			Fragments: one.Fragments,
			Forwarded: one.Forwarded,
		}
		n.counts.keep(otherInterfaces, &counted)
	}
}

func slotKey(slot uint32, d tc.Direction) uint32 { return slot*uint32(tc.Directions) + uint32(d) }

// read sums a slot over CPUs.
func (c *counters) read(slot uint32) (*totals, error) {
	sum := new(totals)
	perCPU := make([]shared.InterfaceCounters, ebpf.MustPossibleCPU())
	for d := range tc.Directions {
		if err := c.values.Lookup(slotKey(slot, d), &perCPU); err != nil {
			return nil, fmt.Errorf("read the packet counters: %w", err)
		}
		for i := range perCPU {
			var one totals
			one[d] = perCPU[i]
			sum.add(&one)
		}
	}
	return sum, nil
}

// all lists every interface with counts, present or gone.
func (c *counters) all(live map[int]*counted) ([]packet.Interface, error) {
	byName := make(map[string]*totals, len(live)+len(c.gone)+1)
	add := func(name string, counted *totals) {
		if byName[name] == nil {
			byName[name] = new(totals)
		}
		byName[name].add(counted)
	}
	for name, counted := range c.gone {
		add(name, counted)
	}
	var failed error
	for _, i := range live {
		if i.slot == 0 {
			continue
		}
		counted, err := c.read(i.slot)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		counted.subtract(&i.before)
		add(i.name, counted)
	}
	other, err := c.read(0)
	if failed = errors.Join(failed, err); err == nil && *other != (totals{}) {
		add(otherInterfaces, other)
	}
	interfaces := make([]packet.Interface, 0, 2*len(byName))
	for name, both := range byName {
		for d := range tc.Directions {
			interfaces = append(interfaces, packet.Interface{
				Name:      name,
				Egress:    d == tc.Egress,
				Packets:   both[d].Packets,
				Bytes:     both[d].Bytes,
				Malformed: both[d].Malformed,
				Fragments: both[d].Fragments,
				Forwarded: both[d].Forwarded,
			})
		}
	}
	return interfaces, failed
}
