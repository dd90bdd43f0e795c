// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// acknowledge learns from a segment what of the other direction has arrived.
func (t *Engine) acknowledge(c *Conn, s *stream.Segment) {
	d := s.Direction.Reverse()
	h := &c.halves[d]
	if !h.Known || h.followed {
		return
	}
	ack := h.Arrived(s.Acknowledgment)
	if !stream.Before(h.Next, ack) || ack == h.Next+1 && !h.inFrame && h.have == 0 {
		return // one byte is no frame: it is a FIN
	}
	h.GiveUp(t.pool, (*reader)(c), d, ack)
	t.settle(c)
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
	h.table.Forget(t.pool)
	if d == stream.ToServer {
		if c.unseen.problem == request.ProblemNone {
			c.unseen = unseen{from: c.highest, problem: request.ProblemMissed}
		}
		c.unseen.to, c.doubt = 0, true
		for p := c.first; p != nil; p = p.next {
			p.message[d].Unsized = p.message[d].Unsized || !p.message[d].Done
		}
		return
	}
	for c.first != nil {
		c.first.message[d].Unsized = true
		t.finish(c, c.first, request.ProblemMissed, t.now)
	}
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
		if h.state == stateClosed || !h.AtFin() {
			continue
		}
		t.lostBlock(c, stream.Direction(d))
		h.state, h.inFrame = stateClosed, false
		if stream.Direction(d) == stream.ToClient {
			t.end(c, h.FinTime)
		}
	}
	server, client := &c.halves[stream.ToServer], &c.halves[stream.ToClient]
	late := server.HasFin && client.HasFin && t.now-c.seen > stream.HoleTime
	if server.state == stateClosed && client.state == stateClosed || late {
		c.over = true
	}
}

// reset ends a connection at an RST.
func (t *Engine) reset(c *Conn, s *stream.Segment) {
	if c.ender == request.ProblemNone {
		c.ender = request.ResetBy(s.Direction == stream.ToServer)
	}
	c.drain()
	t.lostBlock(c, stream.ToServer)
	t.end(c, s.Time)
	c.over = true
}

// end reports the calls whose answers are not complete, because the connection has ended.
func (t *Engine) end(c *Conn, now int64) {
	for c.first != nil {
		t.cut(c, c.first, c.ender, now)
	}
}

// leave reports the requests that the server refuses as it goes away.
func (t *Engine) leave(c *Conn, now int64) {
	c.leaving.End()
	for p := c.first; p != nil; {
		next := p.next
		// Answers that have begun go on, whatever the server says.
		if c.leaving.Refuses(p.id) && !p.message[stream.ToClient].HeadDone {
			t.finish(c, p, request.ClosedBy(false), now)
		}
		p = next
	}
}

// abandon reports what is under way on a connection that is not followed any more.
func (t *Engine) abandon(c *Conn) {
	t.lostBlock(c, stream.ToServer)
	problem := c.ender
	if problem == request.ProblemNone {
		problem = request.ProblemMissed
	}
	for c.first != nil {
		p := c.first
		p.message[stream.ToClient].Unsized = true
		t.finish(c, p, problem, t.now)
	}
}

// lostTrack reports whether the kernel side has stopped following the answers without a segment
// that says so: the last record found no room. Then nobody knows which requests were answered.
func (t *Engine) lostTrack(c *Conn) bool {
	h := &c.halves[stream.ToClient]
	if !h.followed || c.first == nil || t.options.Follows(&c.key, stream.ToClient) {
		return false
	}
	h.followed = false
	t.figures.Gaps++
	t.lose(c, stream.ToClient)
	return true
}

// idle reports the calls that nobody answered for too long. They keep their place.
func (t *Engine) idle(c *Conn) {
	if t.lostTrack(c) {
		return
	}
	t.dropHeld(c)
	for p := c.first; p != nil; p = p.next {
		if p.told || p.alone || p.message[stream.ToClient].HeadDone {
			continue
		}
		t.write(c, p, request.ProblemIdle, t.now)
		t.empty(p)
		p.told = true
		c.port.active--
	}
}
