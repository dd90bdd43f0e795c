// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// acknowledge learns from a segment what of the other direction has arrived. What arrived
// has passed here, so what was not seen of it never comes.
func (t *Engine) acknowledge(c *Conn, s *stream.Segment) {
	d := s.Direction.Reverse()
	h := &c.halves[d]
	ack := s.Acknowledgment
	if !h.Known {
		return
	}
	if h.hasFin && ack == h.fin+1 {
		ack = h.fin
	}
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
	t.fillTo(c, d, ack)
	t.settle(c)
}

// fill gives up waiting for the bytes before the first chunk that waits.
func (t *Engine) fill(c *Conn, d stream.Direction) {
	if w, ok := c.halves[d].Waiting(); ok {
		t.fillTo(c, d, w.Sequence)
		t.pop(c, d)
	}
}

// fillTo gives up what is missing before a number.
func (t *Engine) fillTo(c *Conn, d stream.Direction, to uint32) {
	h := &c.halves[d]
	for stream.Before(h.Next, to) {
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
	if s.FIN && !h.hasFin {
		h.hasFin, h.fin, h.finTime = true, s.Sequence+uint32(len(s.Data))+s.Left, s.Time
		if c.ender == request.ProblemNone {
			c.ender = request.ProblemClientClosed
			if s.Direction == stream.ToClient {
				c.ender = request.ProblemServerClosed
			}
		}
	}
	t.settle(c)
}

// settle closes the directions whose last byte was read, and then the connection.
func (t *Engine) settle(c *Conn) {
	for d := range c.halves {
		h := &c.halves[d]
		if h.hasFin && h.state != stateClosed && h.Known && !stream.Before(h.Next, h.fin) {
			t.closed(c, stream.Direction(d))
		}
	}
	server, client := &c.halves[stream.ToServer], &c.halves[stream.ToClient]
	late := server.hasFin && client.hasFin && t.now-c.seen > holeTime
	if server.state == stateClosed && client.state == stateClosed || late {
		c.over = true
	}
}

// closed ends a direction at its FIN.
func (t *Engine) closed(c *Conn, d stream.Direction) {
	h := &c.halves[d]
	if d == stream.ToServer {
		if p := h.msg; p != nil && h.state == stateHead && !p.message[d].HeadDone {
			before := c.evidence
			t.closeHead(c, p)
			c.evidence = before
		} else if h.state == stateEnd && h.Next == h.fin {
			t.ended(c, d, h.finTime)
		}
	} else {
		t.lastAnswer(c, h.finTime)
	}
	h.state, h.msg = stateClosed, nil
	if d == stream.ToClient {
		t.end(c, h.finTime)
	}
}

// lastAnswer ends the answer under way at the FIN.
func (t *Engine) lastAnswer(c *Conn, now int64) {
	h := &c.halves[stream.ToClient]
	p := h.msg
	if p == nil {
		return
	}
	m := &p.message[stream.ToClient]
	over := int64(int32(h.Next - h.fin))
	// A FIN that lies can be before the body.
	m.BodyBytes = max(0, m.BodyBytes-over)
	switch {
	case h.state == stateEnd && over == 0, h.state == stateClose, h.state == stateLost:
		t.ended(c, stream.ToClient, now)
	case h.state == stateHead:
		if p.problem == request.ProblemNone {
			p.problem = request.ProblemMalformedAnswer
		}
		t.finish(c, p, p.problem, now)
	default:
		m.Ended = now
		t.finish(c, p, request.ProblemCut, now)
	}
}

// reset ends a connection at an RST.
func (t *Engine) reset(c *Conn, s *stream.Segment) {
	if c.ender == request.ProblemNone {
		c.ender = request.ProblemClientReset
		if s.Direction == stream.ToClient {
			c.ender = request.ProblemServerReset
		}
	}
	t.drain(c)
	h := &c.halves[stream.ToClient]
	if p := h.msg; p != nil && h.state != stateLost {
		sent := s.Acknowledgment
		if s.Direction == stream.ToClient {
			sent = s.Sequence
		}
		m := &p.message[stream.ToClient]
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
	for c.first != nil {
		t.finish(c, c.first, c.ender, now)
	}
}

// drain reads what waits for bytes that never come.
func (t *Engine) drain(c *Conn) {
	for d := range c.halves {
		for {
			if _, ok := c.halves[d].Waiting(); !ok {
				break
			}
			t.fill(c, stream.Direction(d))
		}
	}
}

// abandon reports what is under way on a connection that is not followed any more.
func (t *Engine) abandon(c *Conn) {
	for c.first != nil {
		p := c.first
		problem := c.ender
		if problem == request.ProblemNone {
			problem = request.ProblemMissed
		}
		if m := &p.message[stream.ToClient]; m.HeadDone {
			problem, m.Ended = p.problem, 0
			m.Unsized = m.Unsized || c.halves[stream.ToClient].state != stateEnd
		}
		t.finish(c, p, problem, t.now)
	}
}

// idle reports the requests that nobody answered for too long. They keep their place.
func (t *Engine) idle(c *Conn) {
	for p := c.first; p != nil; p = p.next {
		if p.told || p.alone || c.halves[stream.ToClient].msg == p {
			continue
		}
		if h := &c.halves[stream.ToServer]; h.msg == p && !p.message[stream.ToServer].HeadDone {
			t.parseRequest(p)
			h.msg, h.state = nil, stateLost
			c.evidence.LostRequests(p.message[stream.ToServer].Start)
			p.message[stream.ToServer].Cut = true
		}
		t.write(c, p, request.ProblemIdle, t.now, true, false)
		t.empty(p)
		p.told = true
	}
}
