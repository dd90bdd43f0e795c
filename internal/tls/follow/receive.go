// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// receive takes the bytes of a segment, and what came too early and follows them.
func (t *Engine) receive(c *Conn, s *stream.Segment) {
	d := s.Direction
	h := &c.halves[d]
	if len(s.Data) == 0 {
		return
	}
	chunk := stream.Chunk{
		Sequence: s.Sequence, Acknowledgment: s.Acknowledgment, Skipped: s.Skipped, Time: s.Time, Data: s.Data,
	}
	if c.state == nil {
		t.pass(c, d, chunk.End())
		return
	}
	if d == stream.ToServer && stream.Before(s.Sequence, c.origin) && !c.state.begun {
		// The first segment came late.
		c.origin = s.Sequence
		h.Drop(t.pool)
		h.start(s.Sequence)
	}
	next, ok, full := h.Push(t.pool, &chunk)
	if ok {
		t.read(c, d, &next)
	}
	t.pop(c, d)
	if w, waits := h.Waiting(); full && waits && c.state != nil {
		t.fillTo(c, d, w.Sequence)
		t.pop(c, d)
	}
	t.overlaps(h)
}

// overlaps counts what came again with another content.
func (t *Engine) overlaps(h *half) {
	t.figures.Overlapped += uint64(h.Overlapped - h.overlapped)
	h.overlapped = h.Overlapped
}

// pop reads what came too early and follows now.
func (t *Engine) pop(c *Conn, d stream.Direction) {
	h := &c.halves[d]
	for c.state != nil {
		chunk, ok := h.Pop(t.pool)
		if !ok {
			return
		}
		t.read(c, d, &chunk)
	}
}

// read takes bytes in order.
func (t *Engine) read(c *Conn, d stream.Direction, chunk *stream.Chunk) {
	h := &c.halves[d]
	end, data := chunk.End(), chunk.Data
	for len(data) > 0 && c.state != nil {
		if !c.state.begun && h.phase == phaseDialogue {
			data = t.dialogue(c, d, chunk, data)
			continue
		}
		n := t.records(c, d, data, chunk.Time)
		data = data[n:]
	}
	if stream.Before(h.Next, end) {
		h.Next = end
	}
	if c.state == nil {
		t.pass(c, d, end)
	} else if int32(h.Next-h.told) > tellEvery {
		t.tell(c, d)
	}
}

// acknowledge learns from a segment what of the other direction has arrived. What arrived
// has passed here, so what was not seen of it never comes.
func (t *Engine) acknowledge(c *Conn, s *stream.Segment) {
	d := s.Direction.Reverse()
	h := &c.halves[d]
	ack := s.Acknowledgment
	if c.state == nil || h.hasFin && ack == h.fin+1 || !stream.Before(h.Next, ack) {
		return
	}
	if _, waits := h.Waiting(); !waits && ack == h.Next+1 && h.phase == phaseDialogue {
		return // a FIN
	}
	t.fillTo(c, d, ack)
	t.settle(c)
}

// fillTo gives up what is missing before a number.
func (t *Engine) fillTo(c *Conn, d stream.Direction, to uint32) {
	h := &c.halves[d]
	for c.state != nil && stream.Before(h.Next, to) {
		target := to
		if w, ok := h.Waiting(); ok && stream.Before(w.Sequence, to) {
			target = w.Sequence
		}
		if stream.Before(h.Next, target) {
			t.gap(c, d, target)
		}
		t.pop(c, d)
	}
}

// gap handles bytes that nobody will see.
func (t *Engine) gap(c *Conn, d stream.Direction, to uint32) {
	h := &c.halves[d]
	n := int(to - h.Next)
	h.SkipTo(t.pool, to)
	if h.phase == phaseDialogue && !c.state.begun {
		return
	}
	t.figures.Gaps++
	if !h.skips(n) {
		t.finish(c, tls.OutcomeUnknown, tls.SideUnknown, t.now)
		return
	}
	if h.header.Type == tls.RecordHandshake && !h.changed {
		if h.rest -= n; h.rest == 0 {
			h.messages = 0
			t.message(c, d, nil, t.now)
		}
	}
	if h.left -= n; h.left == 0 && c.state != nil {
		t.recordEnded(c, d, t.now)
	}
}

// closing takes a FIN.
func (t *Engine) closing(c *Conn, s *stream.Segment) {
	h := &c.halves[s.Direction]
	if s.FIN && !h.hasFin {
		h.hasFin, h.fin = true, s.Sequence+uint32(len(s.Data))+s.Left
		if c.ender == tls.SideUnknown {
			c.ender = sideOf(s.Direction)
		}
	}
	t.settle(c)
}

// settle ends a handshake at a FIN whose direction was read, and the connection at both.
func (t *Engine) settle(c *Conn) {
	for d := range c.halves {
		h := &c.halves[d]
		if c.state != nil && h.hasFin && !stream.Before(h.Next, h.fin) {
			t.ended(c, c.ender, tls.OutcomeClosed)
		}
	}
	c.over = c.over || c.state == nil && c.halves[stream.ToServer].hasFin && c.halves[stream.ToClient].hasFin
}

// reset ends a connection at an RST.
func (t *Engine) reset(c *Conn, s *stream.Segment) {
	for d := range c.halves {
		if w, ok := c.halves[d].Waiting(); ok && c.state != nil {
			t.fillTo(c, stream.Direction(d), w.Sequence)
			t.pop(c, stream.Direction(d))
		}
	}
	if c.ender == tls.SideUnknown {
		c.ender = sideOf(s.Direction)
	}
	if c.state != nil {
		t.ended(c, c.ender, tls.OutcomeReset)
	}
	c.over = true
}

// pass tells the kernel side that nothing of a direction is wanted for long.
func (t *Engine) pass(c *Conn, d stream.Direction, end uint32) {
	h := &c.halves[d]
	if h.Next = end; int32(h.told-end) < maxAhead/2 {
		h.told = end + maxAhead
		t.options.Want(&c.key, d, h.told)
	}
}

// rest gives up a connection: nothing more of it is wanted.
func (t *Engine) rest(c *Conn) {
	for d := range c.halves {
		h := &c.halves[d]
		t.overlaps(h)
		h.Drop(t.pool)
		h.empty(t.pool)
		h.told = h.Next
		t.pass(c, stream.Direction(d), h.Next)
	}
}

// tell tells the kernel side from which byte on a direction is wanted.
func (t *Engine) tell(c *Conn, d stream.Direction) {
	h := &c.halves[d]
	h.told = h.Next
	t.options.Want(&c.key, d, h.Next)
}

// tellAgain tells both directions, after the kernel side forgot them.
func (t *Engine) tellAgain(c *Conn, s *stream.Segment) {
	if c.state == nil {
		c.halves[s.Direction].Next, c.halves[s.Direction.Reverse()].Next = s.Sequence, s.Acknowledgment
		t.rest(c)
		return
	}
	for d := range c.halves {
		t.tell(c, stream.Direction(d))
	}
}

func sideOf(d stream.Direction) tls.Side {
	if d == stream.ToServer {
		return tls.SideClient
	}
	return tls.SideServer
}
