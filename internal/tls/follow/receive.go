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
		t.pool.Put(c.state.memory)
		c.state.memory = nil
		h.Drop(t.pool)
		h.StartAt(s.Sequence)
	}
	h.Take(t.pool, (*reader)(c), d, &chunk)
	h.CountOverlaps(t.figures)
}

// reader is a connection as stream.Side calls it.
type reader Conn

// Read implements stream.Reader.
func (r *reader) Read(d stream.Direction, chunk stream.Chunk) { r.engine.read((*Conn)(r), d, &chunk) }

// Gap implements stream.Reader.
func (r *reader) Gap(d stream.Direction, to uint32) { r.engine.gap((*Conn)(r), d, to) }

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
	} else if int32(h.Next-h.Told) > stream.TellEvery {
		h.Tell(&t.options, &c.key, d)
	}
}

// acknowledge learns from a segment what of the other direction has arrived.
func (t *Engine) acknowledge(c *Conn, s *stream.Segment) {
	d := s.Direction.Reverse()
	h := &c.halves[d]
	ack := s.Acknowledgment
	if c.state == nil || h.HasFin && ack == h.Fin+1 || !stream.Before(h.Next, ack) {
		return
	}
	if _, waits := h.Waiting(); !waits && ack == h.Next+1 && h.phase == phaseDialogue {
		return // a FIN
	}
	h.GiveUp(t.pool, (*reader)(c), d, ack)
	t.settle(c)
}

// gap handles bytes that nobody will see.
func (t *Engine) gap(c *Conn, d stream.Direction, to uint32) {
	h := &c.halves[d]
	n := int(to - h.Next)
	h.SkipTo(t.pool, to)
	if c.state == nil || h.phase == phaseDialogue && !c.state.begun {
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
	if h.Close(s) && c.ender == tls.SideUnknown {
		c.ender = sideOf(s.Direction)
	}
	t.settle(c)
}

// settle ends a handshake at a FIN whose direction was read, and the connection at both.
func (t *Engine) settle(c *Conn) {
	for d := range c.halves {
		h := &c.halves[d]
		if c.state != nil && h.AtFin() {
			t.ended(c, c.ender, tls.OutcomeClosed)
		}
	}
	c.over = c.over || c.state == nil && c.halves[stream.ToServer].HasFin && c.halves[stream.ToClient].HasFin
}

// reset ends a connection at an RST.
func (t *Engine) reset(c *Conn, s *stream.Segment) {
	for d := range c.halves {
		c.halves[d].GiveUpFirst(t.pool, (*reader)(c), stream.Direction(d))
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
	if h.Next = end; int32(h.Told-end) < stream.MaxAhead/2 {
		h.Told = end + stream.MaxAhead
		t.options.Want(&c.key, d, h.Told)
	}
}

// rest gives up a connection: nothing more of it is wanted.
func (t *Engine) rest(c *Conn) {
	for d := range c.halves {
		h := &c.halves[d]
		h.CountOverlaps(t.figures)
		h.Drop(t.pool)
		h.empty(t.pool)
		h.Told = h.Next
		t.pass(c, stream.Direction(d), h.Next)
	}
}

// tellAgain tells both directions, after the kernel side forgot them.
func (t *Engine) tellAgain(c *Conn, s *stream.Segment) {
	if c.state == nil {
		c.halves[s.Direction].Next, c.halves[s.Direction.Reverse()].Next = s.Sequence, s.Acknowledgment
		t.rest(c)
		return
	}
	for d := range c.halves {
		c.halves[d].Tell(&t.options, &c.key, stream.Direction(d))
	}
}

func sideOf(d stream.Direction) tls.Side {
	if d == stream.ToServer {
		return tls.SideClient
	}
	return tls.SideServer
}
