// SPDX-License-Identifier: Apache-2.0

package blocks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// Errors of Restore.
var (
	ErrVersion = errors.New("the saved blocks have another version")
	ErrDamaged = errors.New("the saved blocks are damaged")
)

// Restored is what came back.
type Restored struct {
	Blocks int
	// Expired were over meanwhile. Refused had no room, or an origin that keep refuses.
	Expired, Refused int
}

// maxName is the longest string that is read, in bytes: a file's path.
const maxName = 4096

// longest is a bound for times in a snapshot, so that sums of them fit.
const longest = 1 << 61

// Restore puts the blocks of a snapshot into an empty table, each with the time that is left. The
// time without a guard counts. Within one boot the boot clock measures it; after a reboot the wall
// clock does, and one that went back counts as no time. It makes no decisions, so there is no
// second event. After an error the table is empty.
func (t *Table) Restore(data []byte, at Moment, keep func(Origin) bool) (Restored, error) {
	done, err := t.restore(data, at, keep)
	if err != nil {
		*t = *New(t.set)
		return Restored{}, err
	}
	return done, nil
}

func (t *Table) restore(data []byte, at Moment, keep func(Origin) bool) (Restored, error) {
	var done Restored
	body, err := check(data)
	if err != nil {
		return done, err
	}
	r := reader{data: body}
	saved := Moment{Boot: r.text()}
	saved.Now, saved.Wall = r.time(), time.Unix(0, r.varint())
	bits := int(r.byte())
	table := r.table()
	if r.failed {
		return done, ErrDamaged
	}
	base := at.Now - at.Since(saved)
	for n := r.count(minBlock); n > 0 && !r.failed; n-- {
		key, b := r.block(table, base)
		if r.failed {
			break
		}
		t.put(t.remap(key, bits), &b, at.Now, keep, &done)
	}
	for n := r.count(minKey); n > 0 && !r.failed; n-- {
		key, step, ended := r.key(), r.byte(), r.time()
		if !r.failed {
			t.past.remember(t.remap(key, bits), min(step, maxStep), min(base+ended, at.Now))
		}
	}
	if r.failed || len(r.data) > 0 {
		return done, ErrDamaged
	}
	return done, nil
}

// check returns what is between the version and the checksum.
func check(data []byte) ([]byte, error) {
	if len(data) < len(magic)+1+4 || string(data[:len(magic)]) != magic {
		return nil, ErrDamaged
	}
	if v := data[len(magic)]; v != version {
		return nil, fmt.Errorf("%w: %d", ErrVersion, v)
	}
	end := len(data) - 4
	if crc32.ChecksumIEEE(data[:end]) != binary.BigEndian.Uint32(data[end:]) {
		return nil, ErrDamaged
	}
	return data[len(magic)+1 : end], nil
}

// remap gives an IPv6 key the length that is now configured, if that is shorter.
func (t *Table) remap(key netip.Prefix, bits int) netip.Prefix {
	if key.Addr().Is6() && key.Bits() == bits && t.set.IPv6Prefix < bits {
		return netip.PrefixFrom(key.Addr(), t.set.IPv6Prefix).Masked()
	}
	return key
}

// put inserts a restored block.
func (t *Table) put(key netip.Prefix, b *Block, now time.Duration, keep func(Origin) bool, done *Restored) {
	kind := b.Origin.Kind
	switch {
	case b.Until <= now:
		done.Expired++
		if b.Step > 0 {
			t.past.remember(key, b.Step, b.Until)
		}
	case keep != nil && !keep(b.Origin), t.counts[kind] >= t.set.Limits[kind], len(t.keys[key]) >= maxOrigins,
		find(t.keys[key], b.Origin) >= 0, kind == Rule && t.tooWide(key):
		done.Refused++
	default:
		t.insert(key, b)
		done.Blocks++
	}
}

// reader takes values from a snapshot, until one is missing or out of range.
type reader struct {
	data   []byte
	failed bool
}

// The fewest bytes of a block and of a remembered key.
const (
	minKey   = 1 + 4 + 1 + 1 + 1
	minBlock = 1 + 4 + 1 + 3 + 3 + 1 + 1
)

func (r *reader) take(n int) []byte {
	if r.failed || n < 0 || n > len(r.data) {
		r.failed = true
		return nil
	}
	taken := r.data[:n]
	r.data = r.data[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.take(n)
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.take(n)
	return v
}

// time reads a duration with which one can calculate.
func (r *reader) time() time.Duration {
	v := r.varint()
	if v < -longest || v > longest {
		r.failed = true
		return 0
	}
	return time.Duration(v)
}

// count reads a number of things of which each has at least so many bytes.
func (r *reader) count(least int) uint64 {
	n := r.uvarint()
	if n > uint64(len(r.data)/least) {
		r.failed = true
		return 0
	}
	return n
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > maxName {
		r.failed = true
		return ""
	}
	return string(r.take(int(n)))
}

func (r *reader) table() []string {
	n := r.count(1)
	table := make([]string, 0, n)
	for ; n > 0 && !r.failed; n-- {
		table = append(table, r.text())
	}
	return table
}

func (r *reader) key() netip.Prefix {
	addr, ok := netip.AddrFromSlice(r.take(int(r.byte())))
	bits := int(r.byte())
	key := netip.PrefixFrom(addr, bits)
	if !ok || addr.Is4In6() || !key.IsValid() || key != key.Masked() {
		r.failed = true
	}
	return key
}

// block reads a block. Base is the moment of the snapshot on the present clock.
func (r *reader) block(table []string, base time.Duration) (netip.Prefix, Block) {
	key := r.key()
	kind, step, flags := Kind(r.byte()), r.byte(), r.byte()
	text := func() string {
		if i := r.uvarint(); i < uint64(len(table)) {
			return table[i]
		}
		r.failed = true
		return ""
	}
	b := Block{Origin: Origin{Kind: kind, Name: text()}, Step: step, limited: flags&flagLimited != 0, raised: flags&flagRaised != 0}
	b.Rule, b.Reason = clean.String(text()), clean.String(text())
	b.Evidence, b.Began = r.uvarint(), base+r.time()
	b.Until, b.limit = Forever, Forever
	if flags&flagForever == 0 {
		b.Until = base + r.time()
	}
	if flags&flagNoLimit == 0 {
		b.limit = base + r.time()
	}
	if kind >= Kinds || step > maxStep {
		r.failed = true
	}
	return key, b
}
