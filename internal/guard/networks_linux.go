// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/local"
)

// putNetwork enters a network before its bit is set.
func (g *Guard) putNetwork(prefix netip.Prefix, value *guardBlock) error {
	if _, known := g.networks[prefix]; known {
		return g.change(mapped(prefix), uint32(mapped(prefix).Bits()), value)
	}
	if err := g.objects.Maps[guardMapNetworks].Put(local.PrefixKey(mapped(prefix)), value); err != nil {
		return refused("block", prefix, err)
	}
	g.networks[prefix] = struct{}{}
	return errors.Join(g.mark(prefix, 1), g.counted(1))
}

func (g *Guard) removeNetwork(prefix netip.Prefix) (Counts, error) {
	if _, known := g.networks[prefix]; !known {
		return Counts{}, fmt.Errorf("end the block of %s: %w", prefix, ebpf.ErrKeyNotExist)
	}
	if err := g.change(mapped(prefix), uint32(mapped(prefix).Bits()), &guardBlock{}); err != nil {
		return Counts{}, err
	}
	counts, err := g.counts(prefix)
	if err != nil {
		return counts, err
	}
	if err := g.mark(prefix, -1); err != nil {
		return counts, err
	}
	if err := g.objects.Maps[guardMapNetworks].Delete(local.PrefixKey(mapped(prefix))); err != nil {
		return counts, fmt.Errorf("end the block of %s: %w", prefix, err)
	}
	delete(g.networks, prefix)
	return counts, g.counted(-1)
}

// highBits is the length of the IPv4 prefixes that have a bit.
const highBits = 16

// mark counts a network in each IPv4 /16 that it has a part of, or among those of IPv6.
func (g *Guard) mark(prefix netip.Prefix, more int) error {
	if !prefix.Addr().Is4() {
		g.six += more
		var any [4]byte
		if g.six > 0 {
			any[0] = 1
		}
		return g.writeState(networks6Offset, any[:])
	}
	raw := prefix.Addr().As4()
	first := binary.BigEndian.Uint16(raw[:2])
	changed := make(map[uint16]bool)
	for i := range 1 << max(highBits-prefix.Bits(), 0) {
		high := first + uint16(i)
		if g.high[high] += more; g.high[high] == 0 {
			delete(g.high, high)
		}
		changed[high/64] = true
	}
	for word := range changed {
		if err := g.writeWord(word); err != nil {
			return err
		}
	}
	return nil
}

// writeWord tells the programs about 64 neighbours.
func (g *Guard) writeWord(word uint16) error {
	var bits uint64
	for i := range uint16(64) {
		if g.high[word*64+i] > 0 {
			bits |= 1 << i
		}
	}
	return g.writeState(networks4Offset+int64(word)*8, binary.NativeEndian.AppendUint64(nil, bits))
}

// Allow replaces the prefixes that pass in spite of a block that contains them. Only blocks
// with HasAllowed ask for them. New ones come before others go.
func (g *Guard) Allow(prefixes []netip.Prefix) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	wanted := make(map[netip.Prefix]struct{}, len(prefixes))
	for _, prefix := range prefixes {
		prefix = prefix.Masked()
		wanted[prefix] = struct{}{}
		if _, known := g.allowed[prefix]; known {
			continue
		}
		if err := g.objects.Maps[guardMapAllowed].Put(local.PrefixKey(mapped(prefix)), uint8(1)); err != nil {
			return refused("allow", prefix, err)
		}
		g.allowed[prefix] = struct{}{}
	}
	for prefix := range g.allowed {
		if _, wants := wanted[prefix]; wants {
			continue
		}
		if err := g.objects.Maps[guardMapAllowed].Delete(local.PrefixKey(mapped(prefix))); err != nil {
			return fmt.Errorf("allow %s no longer: %w", prefix, err)
		}
		delete(g.allowed, prefix)
	}
	return nil
}
