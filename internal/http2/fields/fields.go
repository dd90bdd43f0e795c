// SPDX-License-Identifier: Apache-2.0

// Package fields reads compressed header fields of HTTP/2 (RFC 7541), also where blocks that
// built the table of fields were not seen.
package fields

import (
	"bytes"

	"golang.org/x/net/http2/hpack"

	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Sizes of tables of fields, in bytes (RFC 7541, section 4). A peer may permit a larger one
// than the default; encoders then announce it.
const (
	DefaultTable = 4096
	maxTable     = 64 << 10
	// EntryOverhead is what an entry counts beside its bytes.
	EntryOverhead = 32
	// MaxForgotten is how often a table may be unknown. A peer that can't decode a block ends
	// the connection (RFC 9113, section 4.3); we may have missed one.
	MaxForgotten = 8
)

// Take takes a field. An empty name is that of a field whose name is unknown.
type Take func(name, value string)

// Table is the table of fields of one direction. Before its first use, Renew or Forget is called.
// The pool that it gets has room for a table of the default size already.
type Table struct {
	// size is that of the table in bytes. forgotten counts how often its entries became unknown.
	// broken is set once blocks can't be decoded.
	size      int
	forgotten int
	broken    bool
	decoder   *hpack.Decoder
	take      Take
}

// Broken reports whether blocks can't be decoded any more: too many of them failed.
func (t *Table) Broken() bool { return t.broken }

// Renew empties the table.
func (t *Table) Renew() {
	t.size = max(t.size, DefaultTable)
	t.decoder = hpack.NewDecoder(uint32(t.size), t.field)
	t.decoder.SetAllowedMaxDynamicTableSize(maxTable)
}

// Forget fills the table with empty entries, the oldest that it can have: whatever a block means
// by them is unknown.
func (t *Table) Forget(pool *stream.Pool) {
	if t.forgotten++; t.forgotten > MaxForgotten {
		// A large table takes time to fill, and whoever sends garbage announces one.
		t.shrink(pool)
	}
	t.Renew()
	// A literal field with an empty name and value, which the table takes.
	entries := bytes.Repeat([]byte{0x40, 0, 0}, t.size/EntryOverhead)
	_, _ = t.decoder.Write(entries) // it is well-formed
	_ = t.decoder.Close()
}

// Drop gives back what the table takes beyond the default size, and forgets it.
func (t *Table) Drop(pool *stream.Pool) {
	t.shrink(pool)
	t.decoder = nil
}

func (t *Table) shrink(pool *stream.Pool) {
	if t.size > DefaultTable {
		pool.Release(t.size - DefaultTable)
	}
	t.size = DefaultTable
}

// Decode reads a block, whose fields are taken; a nil take leaves them to the table alone. It
// reports false if fields are missing, and then forgets the table.
func (t *Table) Decode(pool *stream.Pool, block []byte, take Take) bool {
	ok := t.decoder != nil && t.resize(pool, block)
	if ok {
		t.take = take
		_, err := t.decoder.Write(block)
		ok = err == nil && t.decoder.Close() == nil
		t.take = nil
	}
	if !ok {
		t.broken = t.broken || t.forgotten >= MaxForgotten
		t.Forget(pool)
	}
	return ok
}

func (t *Table) field(f hpack.HeaderField) {
	if t.take != nil {
		t.take(f.Name, f.Value)
	}
}

// resize makes room for a larger table, which an encoder announces where a block begins
// (RFC 7541, section 6.3). It reports false if there is none.
func (t *Table) resize(pool *stream.Pool, block []byte) bool {
	size := t.size
	for len(block) > 0 && block[0]&0xe0 == 0x20 {
		n := int(block[0] & 0x1f)
		block = block[1:]
		if n == 0x1f {
			for shift := 0; ; shift += 7 {
				if len(block) == 0 || shift > 21 {
					return false
				}
				b := block[0]
				block = block[1:]
				n += int(b&0x7f) << shift
				if b&0x80 == 0 {
					break
				}
			}
		}
		size = max(size, n)
	}
	if size > maxTable || !pool.Reserve(size-t.size) {
		return false
	}
	t.size = size
	return true
}
