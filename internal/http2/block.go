// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"

	"golang.org/x/net/http2/hpack"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Sizes of tables of fields, in bytes (RFC 7541, section 4). A peer may permit a larger one
// than the default; encoders then announce it.
const (
	defaultTable = 4096
	maxTable     = 64 << 10
	// entryOverhead is what an entry counts beside its bytes.
	entryOverhead = 32
	// maxForgotten is how often a direction may begin with an unknown table. A peer that can't
	// decode a block ends the connection (RFC 9113, section 4.3); we may have missed one.
	maxForgotten = 8
)

// block is a header block under way: HEADERS or PUSH_PROMISE, with its continuations.
type block struct {
	open bool
	// of is the stream. ends is set if the message ends with the block. promise: it is the
	// request of a push.
	of            uint32
	ends, promise bool
	// spoiled is set if bytes of it are missing.
	spoiled bool
	bytes   []byte
	size    int
	began   int64
}

func (b *block) begin(f *frame.Head, now int64) {
	*b = block{
		open: true, of: f.Stream, began: now, bytes: b.bytes[:0],
		ends: f.Kind == frame.Headers && f.Has(frame.EndStream), promise: f.Kind == frame.PushPromise,
	}
}

func (b *block) add(pool *stream.Pool, data []byte) {
	b.size += len(data)
	if b.spoiled {
		return
	}
	ok := b.size <= maxBlockBytes
	if ok {
		b.bytes, ok = pool.Append(b.bytes, data)
	}
	b.spoiled = !ok
}

// endBlock takes a block that is complete. Its last byte passed at a time, 0 if nobody saw when.
func (t *Engine) endBlock(c *Conn, d stream.Direction, now int64) {
	h := &c.halves[d]
	if !h.open {
		return
	}
	h.open = false
	p := t.callOf(c, d, &h.block)
	if p == nil || h.promise {
		c.stray = c.stray || d == stream.ToServer && c.doubt
		if t.decode(h, nil); h.broken {
			t.abandonFrames(c)
		}
		return
	}
	if d == stream.ToClient {
		c.answered = max(c.answered, p.id)
	}
	m := &p.message[d]
	if m.headDone {
		m.trailers, m.trailersAt = true, len(m.fields)
	} else {
		m.began, m.size = h.began, m.size+h.size+frame.HeadBytes
	}
	if !t.decode(h, m) {
		m.cut, p.problem = true, request.ProblemMissed
	}
	if h.broken {
		t.abandonFrames(c)
		return
	}
	if d == stream.ToClient && !m.headDone && !h.ends && m.status >= 100 && m.status < 200 {
		// An interim answer. Another follows.
		t.emptyMessage(m)
		return
	}
	m.headDone = true
	m.ended = max(m.ended, now)
	if h.ends {
		t.ended(c, p, d, now)
	}
}

// abandonFrames stops following a connection: blocks of one direction can't be decoded, and
// the other alone would show requests without answers. Its place in the table stays taken, or
// the next segment would begin it anew.
func (t *Engine) abandonFrames(c *Conn) {
	t.figures.Gaps++
	for d := range c.halves {
		t.lose(c, stream.Direction(d))
		c.halves[d].state = stateBroken
	}
}

// lostBlock gives up an unfinished block.
func (t *Engine) lostBlock(c *Conn, d stream.Direction) {
	h := &c.halves[d]
	if h.open {
		h.spoiled = true
		t.endBlock(c, d, 0)
	}
}

// decode reads the fields of a block into a message; nil: only the table learns them. It
// reports false if fields are missing, and then forgets the table.
func (t *Engine) decode(h *half, m *message) bool {
	ok := !h.spoiled && h.decoder != nil && t.resize(h)
	if ok {
		t.into = m
		_, err := h.decoder.Write(h.bytes)
		ok = err == nil && h.decoder.Close() == nil
		t.into = nil
	}
	t.pool.Put(h.bytes)
	h.bytes = nil
	if !ok {
		h.broken = h.broken || !h.spoiled && h.forgotten >= maxForgotten
		t.forget(h)
	}
	return ok
}

// resize makes room for a larger table, which an encoder announces where a block begins
// (RFC 7541, section 6.3). It reports false if there is none.
func (t *Engine) resize(h *half) bool {
	size := h.table
	for data := h.bytes; len(data) > 0 && data[0]&0xe0 == 0x20; {
		n := int(data[0] & 0x1f)
		data = data[1:]
		if n == 0x1f {
			for shift := 0; ; shift += 7 {
				if len(data) == 0 || shift > 21 {
					return false
				}
				b := data[0]
				data = data[1:]
				n += int(b&0x7f) << shift
				if b&0x80 == 0 {
					break
				}
			}
		}
		size = max(size, n)
	}
	if size > maxTable || !t.pool.Reserve(size-h.table) {
		return false
	}
	h.table = size
	return true
}

// forget fills the table with empty entries, the oldest that it can have: whatever a block
// means by them is unknown.
func (t *Engine) forget(h *half) {
	if h.forgotten++; h.forgotten > maxForgotten {
		// A large table takes time to fill, and whoever sends garbage announces one.
		t.pool.Release(h.table - defaultTable)
		h.table = defaultTable
	}
	t.renew(h)
	// A literal field with an empty name and value, which the table takes.
	entries := bytes.Repeat([]byte{0x40, 0, 0}, h.table/entryOverhead)
	_, _ = h.decoder.Write(entries) // it is well-formed
	_ = h.decoder.Close()
}

// field takes a field of the block that is decoded.
func (t *Engine) field(f hpack.HeaderField) {
	m := t.into
	switch {
	case m == nil:
	case f.Name == "":
		m.cut = true
	case f.Name == ":status":
		m.setStatus(f.Value)
	default:
		m.add(t, f.Name, f.Value)
	}
}
