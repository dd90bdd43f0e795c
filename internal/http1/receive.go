// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// receive takes the bytes of a segment, and what came too early and follows them.
func (t *Engine) receive(c *Conn, s *stream.Segment) {
	d := s.Direction
	h := &c.halves[d]
	chunk := stream.Chunk{
		Sequence: s.Sequence, Acknowledgment: s.Acknowledgment, Skipped: s.Skipped, Time: s.Time, Data: s.Data,
	}
	if !h.Known {
		h.StartAt(s.Sequence)
	}
	if h.state == stateLost && stream.Before(h.Next, s.Sequence) {
		h.SkipTo(t.pool, s.Sequence)
	}
	if h.state == stateEnd && h.reaches(s) {
		t.ended(c, d, s.Time)
	}
	if len(s.Data) == 0 {
		return
	}
	if h.msg != nil || len(s.Data) > 1 {
		t.again(c, d, &chunk)
	}
	if end := chunk.End(); h.farTime == 0 || stream.Before(h.far, end) {
		h.far, h.farTime = end, s.Time
	}
	h.Take(t.pool, (*reader)(c), d, &chunk)
	h.CountOverlaps(t.figures)
	if d == stream.ToClient {
		c.evidence.Sent(s.Sequence+uint32(len(s.Data))+s.Left, s.Acknowledgment, s.Time, syntax.IsInterim(s.Data))
	}
}

// reaches reports whether a segment has the byte before the next one, though nobody reads it:
// the kernel side may not have known yet that it is not wanted.
func (h *half) reaches(s *stream.Segment) bool {
	if s.Sequence == h.Next {
		return s.Skipped > 0 || len(s.Data) == 0 && !s.FIN
	}
	return stream.Before(s.Sequence, h.Next) && !stream.Before(s.Sequence+uint32(len(s.Data)), h.Next)
}

// again compares bytes that came again with those that are still there.
func (t *Engine) again(c *Conn, d stream.Direction, chunk *stream.Chunk) {
	h := &c.halves[d]
	if !stream.Before(chunk.Sequence, h.Next) {
		return
	}
	for p := c.turns.First; p != nil; p = p.Next {
		n := p.Message[d].Differences(chunk.Sequence, chunk.Data)
		p.Overlapped += n
		t.figures.Overlapped += uint64(n)
	}
}

// reader is a connection as stream.Side calls it.
type reader Conn

// Read implements stream.Reader.
func (r *reader) Read(d stream.Direction, chunk stream.Chunk) { r.engine.read((*Conn)(r), d, &chunk) }

// Gap implements stream.Reader.
func (r *reader) Gap(d stream.Direction, to uint32) { r.engine.gap((*Conn)(r), d, to) }

// drain reads what waits for bytes that never come.
func (c *Conn) drain() {
	for d := range c.halves {
		c.halves[d].Drain(c.engine.pool, (*reader)(c), stream.Direction(d))
	}
}

// read takes bytes in order. Each step reads some of them, or changes the state.
func (t *Engine) read(c *Conn, d stream.Direction, chunk *stream.Chunk) {
	h := &c.halves[d]
	for len(chunk.Data) > 0 {
		n := t.step(c, d, chunk)
		chunk.Data = chunk.Data[n:]
		chunk.Sequence += uint32(n)
		chunk.Skipped += uint32(n)
		if stream.Before(h.Next, chunk.Sequence) {
			h.Next = chunk.Sequence
		}
	}
	t.ahead(c, d)
}

func (t *Engine) step(c *Conn, d stream.Direction, chunk *stream.Chunk) int {
	h := &c.halves[d]
	switch h.state {
	case stateHead:
		return t.readHead(c, d, chunk)
	case stateBody:
		if t.withheld(c, d, chunk) {
			return 0
		}
		n := int(min(int64(len(chunk.Data)), h.remaining))
		t.content(c, d, chunk.Data[:n], chunk.Time)
		if h.remaining -= int64(n); h.remaining == 0 {
			h.Next = chunk.Sequence + uint32(n)
			t.ended(c, d, chunk.Time)
		}
		return n
	case stateEnd:
		// The end was passed over, and nobody saw when it came.
		t.ended(c, d, 0)
		return 0
	case stateChunks:
		return t.readChunk(c, d, chunk)
	case stateClose:
		t.content(c, d, chunk.Data, chunk.Time)
		return len(chunk.Data)
	case stateLost:
		return t.readLost(c, d, chunk)
	default:
		return len(chunk.Data)
	}
}

// content takes bytes of a body.
func (t *Engine) content(c *Conn, d stream.Direction, data []byte, now int64) {
	p := c.halves[d].msg
	if p == nil {
		return
	}
	first, tail := c.port.Bounds(d)
	p.Message[d].Content(t.pool, data, now, first, tail)
}

func (t *Engine) readChunk(c *Conn, d stream.Direction, chunk *stream.Chunk) int {
	h := &c.halves[d]
	part := h.chunks.Next(chunk.Data)
	if len(part.Content) > 0 {
		t.content(c, d, part.Content, chunk.Time)
	}
	if len(part.Trailer) > 0 && h.msg != nil {
		h.msg.Message[d].Trailer(t.pool, part.Trailer, t.options.HeadBytes)
	}
	switch {
	case part.Bad:
		t.lostBody(c, d)
	case part.Done:
		h.Next = chunk.Sequence + uint32(part.Size)
		t.ended(c, d, chunk.Time)
	}
	return part.Size
}

// ended closes the message of a direction. Its last byte passed at a time, or nobody saw
// when.
func (t *Engine) ended(c *Conn, d stream.Direction, now int64) {
	h := &c.halves[d]
	p := h.msg
	h.msg, h.state, h.end = nil, stateHead, syntax.End{}
	if d == stream.ToClient {
		c.evidence.Passed(h.Next, max(now, c.seen))
	}
	if p == nil {
		return
	}
	m := &p.Message[d]
	if now == 0 {
		if end, when := t.options.Passed(c.key(), d); end == h.Next {
			now = when
		}
	}
	if m.Ended = max(m.Ended, now); now == 0 {
		m.Ended = 0
	}
	m.Done, m.End = true, h.Next
	if d == stream.ToClient {
		t.finish(c, p, p.Problem, now)
	}
}

// ahead passes over what of a body nobody wants, and tells the kernel side.
func (t *Engine) ahead(c *Conn, d stream.Direction) {
	if c.upgrade != nil {
		return // what follows is for others to read
	}
	h := &c.halves[d]
	first, tail := 0, 0
	if h.msg != nil {
		m := &h.msg.Message[d]
		if first, tail = c.port.Bounds(d); !m.Wants(first) {
			first = 0
		}
		if h.msg.Expect && m.BodyBytes == 0 {
			return
		}
	}
	switch {
	case first > 0:
	case h.state == stateBody:
		t.pass(c, d, min(h.remaining-int64(tail), stream.MaxAhead))
	case h.state == stateChunks && tail == 0:
		t.pass(c, d, min(h.chunks.Left(), stream.MaxAhead))
	case h.state == stateClose && tail == 0, h.state == stateOpaque:
		t.pass(c, d, stream.MaxAhead)
	}
	// The other side does not acknowledge what it reads while several requests are under way.
	if (h.state != stateHead || c.turns.First != nil) && int32(h.Next-h.Told) > stream.TellEvery {
		h.Tell(&t.options, c.key(), d)
	}
}

// pass skips bytes of a body.
func (t *Engine) pass(c *Conn, d stream.Direction, n int64) {
	if n <= 0 {
		return
	}
	t.missing(c, d, n)
	h := &c.halves[d]
	h.Tell(&t.options, c.key(), d)
	if h.state != stateBody || h.remaining > 0 {
		return
	}
	h.state = stateEnd
	if h.farTime != 0 && !stream.Before(h.far, h.Next) {
		t.ended(c, d, h.farTime)
	}
}

// missing counts bytes of a body that are not read.
func (t *Engine) missing(c *Conn, d stream.Direction, n int64) {
	h := &c.halves[d]
	switch h.state {
	case stateBody:
		h.remaining -= n
	case stateChunks:
		h.chunks.PassOver(n)
	}
	if h.msg != nil {
		first, _ := c.port.Bounds(d)
		h.msg.Message[d].PassOver(n, first)
	}
	h.SkipTo(t.pool, h.Next+uint32(n))
}

// tellAgain tells both directions, after the kernel side forgot them.
func (t *Engine) tellAgain(c *Conn) {
	for d := range c.halves {
		if h := &c.halves[d]; h.Known {
			h.Tell(&t.options, c.key(), stream.Direction(d))
		}
	}
}
