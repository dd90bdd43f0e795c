// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// acknowledge learns from a segment what of the other direction has arrived.
func (t *Engine) acknowledge(c *Conn, s *stream.Segment) {
	d := s.Direction.Reverse()
	h := &c.halves[d]
	if !h.Known {
		return
	}
	ack := h.Arrived(s.Acknowledgment)
	if h.state == stateEnd && !stream.Before(ack, h.Next) {
		t.ended(c, d, 0)
	}
	if !stream.Before(h.Next, ack) {
		return
	}
	if h.state == stateHead && h.msg == nil && ack == h.Next+1 {
		// It is a FIN, unless data follow.
		h.unseen = true
		h.SkipTo(t.pool, ack)
		return
	}
	h.GiveUp(t.pool, (*reader)(c), d, ack)
	t.settle(c)
}

// gap handles bytes that nobody will see.
func (t *Engine) gap(c *Conn, d stream.Direction, to uint32) {
	h := &c.halves[d]
	if h.state != stateLost && h.state != stateClosed {
		t.figures.Gaps++
	}
	n := int64(to - h.Next)
	c.holed = c.holed || h.state == stateHead || h.state == stateChunks
	switch h.state {
	case stateBody:
		if t.missing(c, d, min(n, h.remaining)); h.remaining == 0 {
			t.ended(c, d, 0)
		}
	case stateChunks:
		if n > h.chunks.Left() {
			t.lostBody(c, d)
			break
		}
		t.missing(c, d, n)
	case stateClose:
		t.missing(c, d, n)
	case stateEnd:
		t.ended(c, d, 0)
	case stateHead:
		t.lose(c, d)
	}
	if h.state == stateHead && stream.Before(h.Next, to) {
		t.lose(c, d)
	}
	h.SkipTo(t.pool, to)
}

// closing takes a FIN.
func (t *Engine) closing(c *Conn, s *stream.Segment) {
	h := &c.halves[s.Direction]
	if h.Close(s) && c.ender == request.ProblemNone {
		c.ender = request.ClosedBy(s.Direction == stream.ToServer)
	}
	t.settle(c)
}

// settle closes the directions whose last byte was read, and then the connection.
func (t *Engine) settle(c *Conn) {
	for d := range c.halves {
		h := &c.halves[d]
		if h.state != stateClosed && h.AtFin() {
			t.closed(c, stream.Direction(d))
		}
	}
	server, client := &c.halves[stream.ToServer], &c.halves[stream.ToClient]
	late := server.HasFin && client.HasFin && t.now-c.seen > stream.HoleTime
	if server.state == stateClosed && client.state == stateClosed || late {
		c.over = true
	}
}

// closed ends a direction at its FIN.
func (t *Engine) closed(c *Conn, d stream.Direction) {
	h := &c.halves[d]
	if d == stream.ToServer {
		if p := h.msg; p != nil && h.state == stateHead && !p.Message[d].HeadDone {
			before := c.evidence
			t.closeHead(c, p)
			c.evidence = before
		} else if h.state == stateEnd && h.Next == h.Fin {
			t.ended(c, d, h.FinTime)
		}
	} else {
		t.lastAnswer(c, h.FinTime)
	}
	h.state, h.msg = stateClosed, nil
	if d == stream.ToClient {
		t.end(c, h.FinTime)
	}
}

// lastAnswer ends the answer under way at the FIN.
func (t *Engine) lastAnswer(c *Conn, now int64) {
	h := &c.halves[stream.ToClient]
	p := h.msg
	if p == nil {
		return
	}
	m := &p.Message[stream.ToClient]
	over := int64(int32(h.Next - h.Fin))
	// A FIN that lies can be before the body.
	m.BodyBytes = max(0, m.BodyBytes-over)
	switch {
	case h.state == stateEnd && over == 0, h.state == stateClose, h.state == stateLost:
		t.ended(c, stream.ToClient, now)
	case h.state == stateHead:
		if p.Problem == request.ProblemNone {
			p.Problem = request.ProblemMalformedAnswer
		}
		t.finish(c, p, p.Problem, now)
	default:
		m.Ended = now
		t.finish(c, p, request.ProblemCut, now)
	}
}

// reset ends a connection at an RST.
func (t *Engine) reset(c *Conn, s *stream.Segment) {
	if c.ender == request.ProblemNone {
		c.ender = request.ResetBy(s.Direction == stream.ToServer)
	}
	c.drain()
	h := &c.halves[stream.ToClient]
	if p := h.msg; p != nil && h.state != stateLost {
		sent := s.Acknowledgment
		if s.Direction == stream.ToClient {
			sent = s.Sequence
		}
		m := &p.Message[stream.ToClient]
		switch {
		case h.state == stateEnd && sent == h.Next:
			t.ended(c, stream.ToClient, 0)
		case h.state == stateHead:
			h.msg = nil
		default:
			m.Ended, m.Unsized = s.Time, true
			t.finish(c, p, request.ProblemCut, s.Time)
		}
	}
	t.end(c, s.Time)
	c.over = true
}

// end reports the requests that are not answered, because the connection has ended.
func (t *Engine) end(c *Conn, now int64) {
	for c.turns.First != nil {
		t.finish(c, c.turns.First, c.ender, now)
	}
}

// abandon reports what is under way on a connection that is not followed any more.
func (t *Engine) abandon(c *Conn) {
	for c.turns.First != nil {
		p := c.turns.First
		problem := c.ender
		if problem == request.ProblemNone {
			problem = request.ProblemMissed
		}
		if m := &p.Message[stream.ToClient]; m.HeadDone {
			problem, m.Ended = p.Problem, 0
			m.Unsized = m.Unsized || c.halves[stream.ToClient].state != stateEnd
		}
		t.finish(c, p, problem, t.now)
	}
}

// idle reports the requests that nobody answered for too long. They keep their place.
func (t *Engine) idle(c *Conn) {
	for p := c.turns.First; p != nil; p = p.Next {
		if p.Told || p.Alone || c.halves[stream.ToClient].msg == p {
			continue
		}
		if h := &c.halves[stream.ToServer]; h.msg == p && !p.Message[stream.ToServer].HeadDone {
			p.Read(&t.parsed, false)
			h.msg, h.state = nil, stateLost
			c.evidence.LostRequests(p.Message[stream.ToServer].Start)
			p.Message[stream.ToServer].Cut = true
		}
		t.write(c, p, request.ProblemIdle, t.now, true, false)
		p.Empty(t.pool)
		p.Told = true
	}
}
