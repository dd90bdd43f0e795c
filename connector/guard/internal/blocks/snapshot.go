// SPDX-License-Identifier: Apache-2.0

package blocks

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"time"
)

// Moment is when a snapshot is taken or restored, by both clocks.
type Moment struct {
	// Boot tells boots of the host apart (/proc/sys/kernel/random/boot_id).
	Boot string
	// Now is since boot. Wall is used only after a reboot.
	Now  time.Duration
	Wall time.Time
}

// Since is how much time passed from an earlier moment. Within one boot the boot clock measures it;
// after a reboot the wall clock does, and one that went back counts as no time.
func (m Moment) Since(earlier Moment) time.Duration {
	if earlier.Boot != "" && earlier.Boot == m.Boot && m.Now >= earlier.Now {
		return m.Now - earlier.Now
	}
	return min(max(m.Wall.Sub(earlier.Wall), 0), longest)
}

// A snapshot is: magic, version, the moment, the length of an IPv6 key, a table of strings, the
// blocks, the remembered keys, and a checksum. Numbers are variable-length integers, and times
// are relative to the moment.
const (
	magic   = "ebtcpgrd"
	version = 1
)

// Flags of a block. Those with an end of Forever have no time for it.
const (
	flagForever = 1 << iota
	flagLimited
	flagRaised
	flagNoLimit
)

// Snapshot returns the table's state, without the blocks of origins that keep refuses. Blocks of
// files need not be kept: the files have them.
func (t *Table) Snapshot(at Moment, keep func(Origin) bool) []byte {
	w := writer{strings: map[string]uint64{}}
	kept := uint64(0)
	for key, held := range t.keys {
		for i := range held {
			if keep == nil || keep(held[i].Origin) {
				w.block(key, &held[i], at.Now)
				kept++
			}
		}
	}
	out := append([]byte(magic), version)
	out = appendString(out, at.Boot)
	out = binary.AppendVarint(out, int64(at.Now))
	out = binary.AppendVarint(out, at.Wall.UnixNano())
	out = append(out, byte(t.set.IPv6Prefix))
	out = binary.AppendUvarint(out, uint64(len(w.table)))
	for _, text := range w.table {
		out = appendString(out, text)
	}
	out = binary.AppendUvarint(out, kept)
	out = append(out, w.out...)
	out = binary.AppendUvarint(out, uint64(len(t.past.index)))
	for e := t.past.order.Front(); e != nil; e = e.Next() {
		p := e.Value.(*past)
		out = appendKey(out, p.key)
		out = append(out, p.step)
		out = binary.AppendVarint(out, int64(p.ended-at.Now))
	}
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out))
}

// writer collects the strings of blocks, each once.
type writer struct {
	strings map[string]uint64
	table   []string
	out     []byte
}

func (w *writer) text(s string) {
	i, ok := w.strings[s]
	if !ok {
		i = uint64(len(w.table))
		w.strings[s] = i
		w.table = append(w.table, s)
	}
	w.out = binary.AppendUvarint(w.out, i)
}

func (w *writer) block(key netip.Prefix, b *Block, now time.Duration) {
	var flags byte
	for _, f := range []struct {
		set  bool
		flag byte
	}{
		{b.Until == Forever, flagForever},
		{b.limited, flagLimited},
		{b.raised, flagRaised},
		{b.limit == Forever, flagNoLimit},
	} {
		if f.set {
			flags |= f.flag
		}
	}
	w.out = appendKey(w.out, key)
	w.out = append(w.out, byte(b.Origin.Kind), b.Step, flags)
	w.text(b.Origin.Name)
	w.text(b.Rule)
	w.text(b.Reason)
	w.out = binary.AppendUvarint(w.out, b.Evidence)
	w.out = binary.AppendVarint(w.out, int64(b.Began-now))
	if b.Until != Forever {
		w.out = binary.AppendVarint(w.out, int64(b.Until-now))
	}
	if b.limit != Forever {
		w.out = binary.AppendVarint(w.out, int64(b.limit-now))
	}
}

func appendString(out []byte, s string) []byte {
	out = binary.AppendUvarint(out, uint64(len(s)))
	return append(out, s...)
}

// appendKey writes the length of the address in bytes, the address, and the prefix length.
func appendKey(out []byte, key netip.Prefix) []byte {
	addr := key.Addr().AsSlice()
	out = append(out, byte(len(addr)))
	out = append(out, addr...)
	return append(out, byte(key.Bits()))
}
