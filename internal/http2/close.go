// SPDX-License-Identifier: Apache-2.0

package http2

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
	if !h.Known || h.followed {
		return
	}
	if h.hasFin && ack == h.fin+1 {
		ack = h.fin
	}
	if !stream.Before(h.Next, ack) || ack == h.Next+1 && !h.inFrame && h.have == 0 {
		return // one byte is no frame: it is a FIN
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
	if h.state == stateFrames && h.inFrame {
		t.pass(c, d, min(h.remaining, to-h.Next))
		if h.remaining == 0 {
			t.endFrame(c, d, 0)
		}
	}
	if stream.Before(h.Next, to) {
		if h.state == stateFrames || h.state == statePreface {
			t.figures.Gaps++
			t.lose(c, d)
		}
		h.SkipTo(t.pool, to)
	}
}

// lose gives up where the frames of a direction begin. Answers may have ended meanwhile, and
// requests may have begun.
func (t *Engine) lose(c *Conn, d stream.Direction) {
	h := &c.halves[d]
	t.lostBlock(c, d)
	h.state, h.inFrame, h.have = stateLost, false, 0
	t.forget(h)
	if d == stream.ToServer {
		if c.unseen.problem == request.ProblemNone {
			c.unseen = unseen{from: c.highest, problem: request.ProblemMissed}
		}
		c.unseen.to = 0
		for p := c.first; p != nil; p = p.next {
			p.message[d].unsized = p.message[d].unsized || !p.message[d].done
		}
		return
	}
	for c.first != nil {
		c.first.message[d].unsized = true
		t.finish(c, c.first, request.ProblemMissed, t.now)
	}
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
		if !h.hasFin || h.state == stateClosed || !h.Known || stream.Before(h.Next, h.fin) {
			continue
		}
		t.lostBlock(c, stream.Direction(d))
		h.state, h.inFrame = stateClosed, false
		if stream.Direction(d) == stream.ToClient {
			t.end(c, h.finTime)
		}
	}
	server, client := &c.halves[stream.ToServer], &c.halves[stream.ToClient]
	late := server.hasFin && client.hasFin && t.now-c.seen > holeTime
	if server.state == stateClosed && client.state == stateClosed || late {
		c.over = true
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
	for d := range c.halves {
		for _, waits := c.halves[d].Waiting(); waits; _, waits = c.halves[d].Waiting() {
			t.fill(c, stream.Direction(d))
		}
	}
	t.end(c, s.Time)
	c.over = true
}

// end reports the calls whose answers are not complete, because the connection has ended.
func (t *Engine) end(c *Conn, now int64) {
	for c.first != nil {
		t.cut(c, c.first, c.ender, now)
	}
}

// abandon reports what is under way on a connection that is not followed any more.
func (t *Engine) abandon(c *Conn) {
	problem := c.ender
	if problem == request.ProblemNone {
		problem = request.ProblemMissed
	}
	for c.first != nil {
		p := c.first
		p.message[stream.ToClient].unsized = true
		t.finish(c, p, problem, t.now)
	}
}

// idle reports the calls that nobody answered for too long. They keep their place.
func (t *Engine) idle(c *Conn) {
	for p := c.first; p != nil; p = p.next {
		if p.told || p.alone || p.message[stream.ToClient].headDone {
			continue
		}
		t.write(c, p, request.ProblemIdle, t.now)
		t.empty(p)
		p.told = true
		c.port.active--
	}
}
