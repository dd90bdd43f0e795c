// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"unsafe"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/message"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

const callSize = int(unsafe.Sizeof(call{}))

// call is a stream under way.
type call struct {
	message [stream.Directions]message.Message
	standing
}

// standing is what is known of a call beside its messages.
type standing struct {
	id      uint32
	problem request.Problem
	// alone: an answer whose request was not seen. told: reported as idle already.
	alone, told bool
	// held: the request is not proven to be one, see resume.go.
	held bool
	// read is up to where the last block of each message was read.
	read [stream.Directions]uint32
	// retransmits is the count when the request began.
	retransmits  int64
	before, next *call
}

// unseen are streams whose requests were not seen: numbers above from and below to, or
// all above from if to is 0.
type unseen struct {
	from, to uint32
	problem  request.Problem
}

func (u *unseen) has(id uint32) bool {
	return u.problem != request.ProblemNone && id > u.from && (u.to == 0 || id < u.to)
}

// callOf finds the call that a block belongs to, or makes it; nil if nobody wants to know.
func (t *Engine) callOf(c *Conn, d stream.Direction, b *block) *call {
	p := c.calls[b.of]
	if d == stream.ToClient && p != nil {
		t.prove(c, p)
	}
	if p != nil || b.of%2 == 0 || b.promise {
		return p
	}
	if d == stream.ToClient {
		return t.unasked(c, b.of)
	}
	if b.of <= c.highest {
		return nil
	}
	if !c.doubt {
		c.began(b.of)
	}
	if p = t.call(c, b.of); p != nil {
		p.held = c.doubt
	}
	return p
}

// unasked makes the call of an answer whose request was not seen; nil if its request was, and
// had no room or was answered before.
func (t *Engine) unasked(c *Conn, id uint32) *call {
	problem := request.ProblemMissed
	switch {
	case c.unseen.has(id):
		problem = c.unseen.problem
	case id <= c.highest || id <= c.answered:
		return nil
	}
	p := t.call(c, id)
	if p != nil {
		p.alone, p.problem = true, problem
	}
	return p
}

// call makes a call that begins; nil if there is no room for it.
func (t *Engine) call(c *Conn, id uint32) *call {
	if len(c.calls) >= maxCalls {
		t.options.Lost(stream.LossDepth, 1)
		return nil
	}
	if !t.pool.Reserve(callSize) {
		t.options.Lost(stream.LossBudget, 1)
		return nil
	}
	p := t.freeCalls
	if p == nil {
		p = &call{}
	} else {
		t.freeCalls = p.next
	}
	p.standing = standing{id: id, retransmits: c.retransmits, before: c.last}
	if c.last == nil {
		c.first = p
	} else {
		c.last.next = p
	}
	c.last = p
	c.calls[id] = p
	c.port.active++
	return p
}

// release forgets a call.
func (t *Engine) release(c *Conn, p *call) {
	delete(c.calls, p.id)
	if p.before != nil {
		p.before.next = p.next
	} else {
		c.first = p.next
	}
	if p.next != nil {
		p.next.before = p.before
	} else {
		c.last = p.before
	}
	if !p.told {
		c.port.active--
	}
	t.empty(p)
	t.pool.Release(callSize)
	p.before = nil
	p.next, t.freeCalls = t.freeCalls, p
}

// empty gives back the buffers of a call.
func (t *Engine) empty(p *call) {
	for d := range p.message {
		p.message[d].Empty(t.pool)
	}
}

// bodyBegins notes when the first frame of a message's content came. What follows of the frame
// need not cross.
func (t *Engine) bodyBegins(c *Conn, d stream.Direction, f *frame.Head, now int64) {
	if p := c.calls[f.Stream]; p != nil {
		p.message[d].BodyBegins(now)
	}
}

// ended closes the message of a direction. Its last byte passed at a time, 0 if nobody saw when.
func (t *Engine) ended(c *Conn, p *call, d stream.Direction, now int64) {
	if now == 0 {
		if end, when := t.options.Passed(&c.key, d); end == c.halves[d].Next {
			now = when
		}
	}
	p.message[d].End(now)
	if d == stream.ToClient {
		t.finish(c, p, request.ProblemNone, now)
	}
}

// resetCall takes a RST_STREAM.
func (t *Engine) resetCall(c *Conn, p *call, d stream.Direction, now int64) {
	if d == stream.ToClient {
		t.prove(c, p)
	}
	t.cut(c, p, request.ResetBy(d == stream.ToServer), now)
}

// cut ends a call whose answer is not complete.
func (t *Engine) cut(c *Conn, p *call, problem request.Problem, now int64) {
	if m := &p.message[stream.ToClient]; m.HeadDone {
		m.Ended, m.Unsized = now, true
		problem = request.ProblemCut
	}
	t.finish(c, p, problem, now)
}
