// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/queue"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// startRequest makes the exchange of a request that begins; nil if there is no room.
func (t *Engine) startRequest(c *Conn, chunk *stream.Chunk) *queue.Turn {
	t.finishLost(c, chunk.Acknowledgment)
	proven := c.evidence.Proven()
	if !proven {
		c.evidence.Passed(t.options.Passed(c.key(), stream.ToClient))
	}
	anchored := c.evidence.Request(chunk.Sequence, chunk.Acknowledgment, chunk.Time, c.turns.First != nil)
	if h := &c.halves[stream.ToClient]; !proven && (c.evidence.Proven() || anchored && c.turns.First == nil && h.state == stateLost) {
		t.answerFrom(c, chunk.Acknowledgment)
	}
	p := t.pending(c)
	if p != nil {
		p.Anchored, p.AnswerAt = anchored, chunk.Acknowledgment
	}
	return p
}

// answerFrom says where the next answer begins.
func (t *Engine) answerFrom(c *Conn, sequence uint32) {
	h := &c.halves[stream.ToClient]
	h.SkipTo(t.pool, sequence)
	h.state, h.msg, h.end = stateHead, nil, syntax.End{}
}

// startAnswer finds the exchange of an answer that begins. Without one that can be its own,
// the answer is alone.
func (t *Engine) startAnswer(c *Conn, chunk *stream.Chunk) *queue.Turn {
	p := c.unanswered()
	if c.evidence.Proven() && p != nil {
		p.Ordered = true
		if !p.Message[stream.ToServer].HeadDone {
			t.closeHead(c, p)
		}
		return p
	}
	if c.evidence.Proven() {
		// Nobody asked for it, so the count is wrong.
		c.evidence.Lost()
	}
	if p != nil && p.Next == nil && p.Message[stream.ToServer].HeadDone && p.AnswerAt == chunk.Sequence {
		return p
	}
	t.missed(c, c.halves[stream.ToServer].msg)
	if p = t.pending(c); p != nil {
		p.Alone = true
	}
	return p
}

// closeHead ends the head of a request that is answered before its end, or whose client has
// closed.
func (t *Engine) closeHead(c *Conn, p *queue.Turn) {
	h := &c.halves[stream.ToServer]
	m := &p.Message[stream.ToServer]
	p.Read(&t.parsed, false)
	m.Done = true
	m.Cut = m.Cut || !p.Bare && !p.Malformed
	if p.Bare && h.end.Lines() == 0 {
		p.Bare, p.Malformed, p.Problem = false, true, request.ProblemMalformedRequest
	}
	h.msg, h.state = nil, stateLost
	c.evidence.LostRequests(m.Start)
}

// prove looks for what TCP says about a pair on a connection that is not proven.
func (t *Engine) prove(c *Conn, p *queue.Turn) {
	asked, m := &p.Message[stream.ToServer], &p.Message[stream.ToClient]
	allowed := p.Anchored && c.turns.First == p && p.Next == nil && asked.Done && !asked.Unsized && !p.Malformed
	if !allowed || !c.evidence.Allows(m.Acknowledgment, asked.End) {
		t.split(c, p)
	}
}

// split reports the request of a pair that is not proven, and leaves the answer alone.
func (t *Engine) split(c *Conn, p *queue.Turn) {
	if !p.Told {
		t.write(c, p, request.ProblemMissed, c.seen, true, false)
	}
	m := &p.Message[stream.ToServer]
	m.Empty(t.pool)
	m.Restart()
	if h := &c.halves[stream.ToServer]; h.msg == p {
		h.msg = nil
	}
	p.Alone, p.Problem = true, request.ProblemNone
}

// lose gives up where the messages of a direction begin. What is under way can't be matched,
// except an answer that has begun.
func (t *Engine) lose(c *Conn, d stream.Direction) {
	h := &c.halves[d]
	c.evidence.Lost()
	if d == stream.ToServer {
		from := h.Next
		if h.msg != nil {
			from = h.msg.Message[d].Start
		}
		c.evidence.LostRequests(from)
	}
	h.state, h.msg, h.end = stateLost, nil, syntax.End{}
	t.missed(c, c.halves[d.Reverse()].msg)
}

// missed reports all requests that are not being answered, except one.
func (t *Engine) missed(c *Conn, except *queue.Turn) {
	for p := c.turns.First; p != nil; {
		next := p.Next
		if p != except && !p.Alone {
			t.finish(c, p, request.ProblemMissed, c.seen)
		} else if p != except {
			t.release(c, p)
		}
		p = next
	}
}

// lostBody gives up a body in chunks that can't be followed. An answer ends at the latest
// where the next request says.
func (t *Engine) lostBody(c *Conn, d stream.Direction) {
	if d == stream.ToServer {
		if p := c.halves[d].msg; p != nil {
			p.Message[d].Unsized = true
		}
		t.lose(c, d)
		return
	}
	h := &c.halves[d]
	h.state = stateLost
	c.evidence.Lost()
	if h.msg != nil {
		m := &h.msg.Message[d]
		m.Unsized, m.BodyCut = true, true
	}
}

// finishLost ends the answer whose body could not be followed: the client that sends the
// next request has received it.
func (t *Engine) finishLost(c *Conn, ack uint32) {
	h := &c.halves[stream.ToClient]
	p := h.msg
	if h.state != stateLost || p == nil {
		return
	}
	m := &p.Message[stream.ToClient]
	if stream.Before(ack, m.End) {
		c.evidence.Pipelined()
		return
	}
	if m.End != ack {
		m.Ended = 0
		if end, when := t.options.Passed(c.key(), stream.ToClient); end == ack {
			m.Ended = when
		}
	}
	m.Done = true
	t.finish(c, p, p.Problem, m.Ended)
}

// readLost looks for a place where a message can begin: only where a segment does.
func (t *Engine) readLost(c *Conn, d stream.Direction, chunk *stream.Chunk) int {
	h := &c.halves[d]
	begins := chunk.Skipped == 0
	if d == stream.ToServer {
		begins = begins && syntax.IsRequest(chunk.Data)
	} else {
		begins = begins && len(chunk.Data) > 7 && string(chunk.Data[:7]) == "HTTP/1."
	}
	if h.msg != nil {
		m := &h.msg.Message[d]
		m.End, m.Ended = chunk.Sequence+uint32(len(chunk.Data)), chunk.Time
		begins = false
	}
	if !begins {
		return len(chunk.Data)
	}
	h.state, h.end = stateHead, syntax.End{}
	return 0
}

// noAnswer takes what is no head: the whole answer to a request without version, else
// something that can't be read.
func (t *Engine) noAnswer(c *Conn, p *queue.Turn, chunk *stream.Chunk) {
	h := &c.halves[stream.ToClient]
	m := &p.Message[stream.ToClient]
	if !p.Bare || !p.Ordered {
		t.badAnswer(c, p)
		return
	}
	head := m.Take()
	m.HeadDone = true
	h.state = stateClose
	t.content(c, stream.ToClient, head, chunk.Time)
	t.pool.Put(head)
}

// badAnswer gives up an answer that can't be read, and where the next begins.
func (t *Engine) badAnswer(c *Conn, p *queue.Turn) {
	switch {
	case p.Ordered:
		if p.Problem == request.ProblemNone {
			p.Problem = request.ProblemMalformedAnswer
		}
		t.finish(c, p, p.Problem, c.seen)
	// Else it is the rest of an answer that began before.
	case p.Alone:
		t.release(c, p)
	case p.Anchored:
		c.evidence.Pipelined()
	}
	t.lose(c, stream.ToClient)
}

// aloneHead reports an answer without its request, at its head: it may have no body.
func (t *Engine) aloneHead(c *Conn, p *queue.Turn) {
	h := &c.halves[stream.ToClient]
	m := &p.Message[stream.ToClient]
	status := t.parsed.Status
	problem := request.ProblemNoRequest
	if c.holed {
		problem = request.ProblemMissed
	}
	if m.Done = t.parsed.Framing == syntax.None || status == 204 || status == 304; m.Done {
		h.state, h.end = stateHead, syntax.End{}
	} else {
		m.Ended, m.Unsized = 0, true
		h.state = stateLost
	}
	t.finish(c, p, problem, c.seen)
}

// switched ends HTTP on a connection.
func (t *Engine) switched(c *Conn, p *queue.Turn) {
	m := &p.Message[stream.ToClient]
	m.Done = true
	if p.Alone && p.Problem == request.ProblemNone {
		p.Problem = request.ProblemNoRequest
	}
	p.Switched = true
	if asked := &p.Message[stream.ToServer]; !asked.Done && asked.HeadDone {
		asked.Done = true
	}
	t.finish(c, p, p.Problem, m.Ended)
	// What looked like requests behind is not HTTP.
	for c.turns.First != nil {
		t.release(c, c.turns.First)
	}
	for d := range c.halves {
		h := &c.halves[d]
		h.state, h.msg = stateOpaque, nil
	}
	if c.halves[stream.ToServer].Known {
		t.pass(c, stream.ToServer, stream.MaxAhead)
	}
}

// withheld reports that a client did not send a body that it had announced, because it had
// its answer before. What comes is the next request.
func (t *Engine) withheld(c *Conn, d stream.Direction, chunk *stream.Chunk) bool {
	h := &c.halves[d]
	if d != stream.ToServer || !h.withhold {
		return false
	}
	h.withhold = false
	c.evidence.Doubt()
	if !syntax.IsRequest(chunk.Data) {
		return false
	}
	h.state, h.end = stateHead, syntax.End{}
	return true
}
