// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/message"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
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
		if t.decode(h, nil); h.table.Broken() {
			t.abandonFrames(c)
		}
		return
	}
	if d == stream.ToClient {
		c.answered = max(c.answered, p.id)
		// Whoever writes a body does not know which of these numbers wait.
		h.guessed = h.guessed && (p.alone || p.message[d].HeadDone)
	}
	m := &p.message[d]
	p.read[d] = h.Next
	m.Block(h.began, h.size+frame.HeadBytes)
	if !t.decode(h, m) {
		m.Cut, p.problem = true, request.ProblemMissed
	}
	if h.table.Broken() {
		t.abandonFrames(c)
		return
	}
	if d == stream.ToClient && !m.HeadDone && !h.ends && m.Status >= 100 && m.Status < 200 {
		// An interim answer. Another follows.
		m.Empty(t.pool)
		return
	}
	m.HeadDone = true
	m.Ended = max(m.Ended, now)
	if h.ends {
		t.ended(c, p, d, now)
	}
	if d == stream.ToServer && c.leaving.Refuses(p.id) {
		t.finish(c, p, request.ClosedBy(false), now) // it was on its way
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
// reports false if fields are missing, and then the table is unknown.
func (t *Engine) decode(h *half, m *message.Message) bool {
	ok := !h.spoiled
	if ok {
		take := t.take
		if t.into = m; m == nil {
			take = nil
		}
		ok = h.table.Decode(t.pool, h.bytes, take)
		t.into = nil
	} else {
		h.table.Forget(t.pool)
	}
	t.pool.Put(h.bytes)
	h.bytes = nil
	return ok
}

// field takes a field of the block that is decoded.
func (t *Engine) field(name, value string) {
	t.into.Field(t.pool, t.options.HeadBytes, name, value)
}
