// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/local"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// ErrFull means that a map has no room for another entry.
var ErrFull = errors.New("the guard has no room for another entry")

// Put blocks a source or a network, or changes how it is blocked. Counts go on.
func (g *Guard) Put(prefix netip.Prefix, b Block) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	value, err := g.value(b)
	if err != nil {
		return err
	}
	prefix = prefix.Masked()
	if !g.options.source(prefix) {
		return g.putNetwork(prefix, &value)
	}
	err = g.objects.Maps[guardMapBlocked].Update(sourceKey(prefix), &value, ebpf.UpdateNoExist)
	switch {
	case errors.Is(err, ebpf.ErrKeyExist):
		return g.change(prefix, 0, &value)
	case err != nil:
		return refused("block", prefix, err)
	}
	return g.counted(1)
}

func refused(what string, prefix netip.Prefix, err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.E2BIG) {
		err = ErrFull
	}
	return fmt.Errorf("%s %s: %w", what, prefix, err)
}

// value is a block as the programs see it.
func (g *Guard) value(b Block) (guardBlock, error) {
	value := guardBlock{Until: forever, Limit: b.Limit}
	if b.Left > 0 {
		var err error
		if value.Until, err = g.clock.after(b.Left); err != nil {
			return value, err
		}
	}
	var flags guardBlockFlag
	if b.DryRun {
		flags |= guardBlockFlagBLOCK_DRY_RUN
	}
	if b.HasAllowed {
		flags |= guardBlockFlagBLOCK_HAS_ALLOWED
	}
	if b.Limit > 0 {
		flags |= guardBlockFlagBLOCK_LIMIT
	}
	value.Flags = uint32(flags)
	return value, nil
}

// counted tells the programs whether anything is blocked.
func (g *Guard) counted(more int) error {
	g.count += more
	var active [4]byte
	if g.count > 0 {
		active[0] = 1
	}
	return g.writeState(activeOffset, active[:])
}

// change rewrites what comes before the counts, in place.
func (g *Guard) change(prefix netip.Prefix, length uint32, to *guardBlock) error {
	change := guardBlockChange{
		Address: halves(prefix.Addr()), Length: length, Flags: to.Flags, Until: to.Until, Limit: to.Limit,
	}
	data := make([]byte, question, question+unsafe.Sizeof(change))
	data, err := binary.Append(data, binary.NativeEndian, &change)
	if err != nil {
		return err
	}
	found, err := g.objects.Programs[guardProgChangeBlock].Run(&ebpf.RunOptions{Data: data})
	switch {
	case err != nil:
		return fmt.Errorf("change the block of %s: %w", prefix, err)
	case found != 1:
		return fmt.Errorf("change the block of %s: %w", prefix, ebpf.ErrKeyNotExist)
	}
	return nil
}

// Remove ends a block and returns its last counts.
func (g *Guard) Remove(prefix netip.Prefix) (Counts, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	prefix = prefix.Masked()
	if !g.options.source(prefix) {
		return g.removeNetwork(prefix)
	}
	// After this the programs count no more.
	if err := g.change(prefix, 0, &guardBlock{}); err != nil {
		return Counts{}, err
	}
	counts, err := g.counts(prefix)
	if err != nil {
		return counts, err
	}
	if err := g.objects.Maps[guardMapBlocked].Delete(sourceKey(prefix)); err != nil {
		return counts, fmt.Errorf("end the block of %s: %w", prefix, err)
	}
	return counts, g.counted(-1)
}

// Counts returns those of one block so far.
func (g *Guard) Counts(prefix netip.Prefix) (Counts, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts(prefix.Masked())
}

func (g *Guard) counts(prefix netip.Prefix) (Counts, error) {
	var value guardBlock
	var err error
	if g.options.source(prefix) {
		err = g.objects.Maps[guardMapBlocked].Lookup(sourceKey(prefix), &value)
	} else {
		err = g.objects.Maps[guardMapNetworks].Lookup(local.PrefixKey(mapped(prefix)), &value)
	}
	if err != nil {
		return Counts{}, fmt.Errorf("read the block of %s: %w", prefix, err)
	}
	now, err := g.clock.now()
	return g.countsOf(&value, now), err
}

func (g *Guard) countsOf(value *guardBlock, now uint64) Counts {
	c := Counts{Passed: value.Passed, Idle: -1}
	for _, place := range value.Counts {
		c.Packets += place.Packets
		c.Bytes += place.Bytes
	}
	if value.Last != 0 {
		// A packet may have come since the clock was read.
		c.Idle = g.clock.duration(now - min(now, value.Last))
	}
	return c
}

// atOnce is how many blocks are read with one system call.
const atOnce = 1024

// Each calls f with the counts of all blocks. Blocks that come or go meanwhile may be missed.
func (g *Guard) Each(f func(netip.Prefix, Counts)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, err := g.clock.now()
	if err != nil {
		return err
	}
	keys, values := make([]guardAddress, atOnce), make([]guardBlock, atOnce)
	var cursor ebpf.MapBatchCursor
	for more := true; more; {
		n, err := g.objects.Maps[guardMapBlocked].BatchLookup(&cursor, keys, values, nil)
		if more = err == nil; err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read the blocked sources: %w", err)
		}
		for i := range n {
			f(g.prefixOf(keys[i]), g.countsOf(&values[i], now))
		}
	}
	for prefix := range g.networks {
		var value guardBlock
		if err := g.objects.Maps[guardMapNetworks].Lookup(local.PrefixKey(mapped(prefix)), &value); err != nil {
			return fmt.Errorf("read the block of %s: %w", prefix, err)
		}
		f(prefix, g.countsOf(&value, now))
	}
	return nil
}

// prefixOf is the source that a key stands for.
func (g *Guard) prefixOf(key guardAddress) netip.Prefix {
	var raw [16]byte
	binary.NativeEndian.PutUint64(raw[:8], key.Halves[0])
	binary.NativeEndian.PutUint64(raw[8:], key.Halves[1])
	address := netip.AddrFrom16(raw)
	if address.Is4In6() {
		return netip.PrefixFrom(address.Unmap(), 32)
	}
	return netip.PrefixFrom(address, g.options.IPv6Prefix)
}

func sourceKey(prefix netip.Prefix) guardAddress { return halves(prefix.Addr()) }

// mapped is a prefix with an IPv4 address mapped.
func mapped(prefix netip.Prefix) netip.Prefix {
	bits := prefix.Bits()
	if prefix.Addr().Is4() {
		bits += local.MappedBits
	}
	return netip.PrefixFrom(netip.AddrFrom16(prefix.Addr().As16()), bits)
}

// Offsets in struct guard_state of bpf/guard/block.h.
const (
	stateTable      = ".data.state"
	deadlineOffset  = int64(unsafe.Offsetof(guardGuardState{}.Deadline))
	activeOffset    = int64(unsafe.Offsetof(guardGuardState{}.Active))
	networks6Offset = int64(unsafe.Offsetof(guardGuardState{}.Networks6))
	networks4Offset = int64(unsafe.Offsetof(guardGuardState{}.Networks4))
)

func (g *Guard) writeState(offset int64, part []byte) error {
	if err := shared.WriteAt(g.objects.Maps[stateTable], offset, part); err != nil {
		return fmt.Errorf("configure the guard's programs: %w", err)
	}
	return nil
}

func (g *Guard) setDeadline(until uint64) error {
	return g.writeState(deadlineOffset, binary.NativeEndian.AppendUint64(nil, until))
}
