// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"unsafe"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/fields"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// span is a field in the text of a message: its name, then its value.
type span struct{ name, value uint32 }

const (
	spanSize = int(unsafe.Sizeof(span{}))
	callSize = int(unsafe.Sizeof(call{}))
)

// message is one direction of a call.
type message struct {
	// text has the bytes of fields, those of trailers from trailersAt on, if there are any.
	text       []byte
	fields     []span
	trailers   bool
	trailersAt int
	// kept counts what the bound on heads counts; size are the bytes of header blocks.
	kept, size   int
	status       int
	began, ended int64
	bodyBegan    int64
	bodyBytes    int64
	body         []byte
	// headDone and done: head and message were read. cut: fields are missing. bodyCut: body
	// lacks bytes that were asked for. unsized: bytes of the body were missed.
	headDone, done, cut, bodyCut, unsized bool
}

// call is a stream under way.
type call struct {
	id      uint32
	message [stream.Directions]message
	problem request.Problem
	// alone: an answer whose request was not seen. told: reported as idle already.
	alone, told bool
	// held: the request is not proven to be one, see resume.go.
	held bool
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
	*p = call{id: id, retransmits: c.retransmits, before: c.last, message: p.message}
	for d := range p.message {
		p.message[d] = message{fields: p.message[d].fields[:0]}
	}
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
		t.emptyMessage(&p.message[d])
	}
}

// emptyMessage forgets what a message has so far.
func (t *Engine) emptyMessage(m *message) {
	t.pool.Put(m.text)
	t.pool.Put(m.body)
	t.pool.Release(len(m.fields) * spanSize)
	*m = message{fields: m.fields[:0]}
}

// add keeps a field, as far as the bound on heads permits.
func (m *message) add(t *Engine, name, value string) {
	m.kept += len(name) + len(value) + fields.EntryOverhead
	if m.kept > t.options.HeadBytes || !t.pool.Reserve(spanSize) {
		m.cut = true
		return
	}
	begin := len(m.text)
	var ok bool
	if m.text, ok = t.pool.Append(m.text, []byte(name)); ok {
		m.text, ok = t.pool.Append(m.text, []byte(value))
	}
	if !ok {
		m.text, m.cut = m.text[:begin], true
		t.pool.Release(spanSize)
		return
	}
	m.fields = append(m.fields, span{uint32(len(name)), uint32(len(value))})
}

func (m *message) setStatus(value string) {
	m.status = 0
	if len(value) != 3 {
		return
	}
	for _, digit := range []byte(value) {
		if digit < '0' || digit > '9' {
			m.status = 0
			return
		}
		m.status = 10*m.status + int(digit-'0')
	}
}

// bodyBegins notes when the first frame of a message's content came. What follows of the frame
// need not cross.
func (t *Engine) bodyBegins(c *Conn, d stream.Direction, f *frame.Head, now int64) {
	p := c.calls[f.Stream]
	if p == nil {
		return
	}
	if m := &p.message[d]; m.headDone && m.bodyBegan == 0 && m.bodyBytes == 0 && !m.unsized {
		m.bodyBegan = now
	}
}

// body takes bytes of a message's content.
func (t *Engine) body(c *Conn, m *message, d stream.Direction, data []byte, now int64) {
	m.bodyBytes += int64(len(data))
	m.ended = max(m.ended, now)
	first := c.port.bound(d)
	if m.bodyCut || first == 0 {
		return
	}
	n := min(len(data), first-len(m.body))
	var ok bool
	if m.body, ok = t.pool.Append(m.body, data[:n]); !ok || n < len(data) {
		m.bodyCut = true
	}
}

// ended closes the message of a direction. Its last byte passed at a time, 0 if nobody saw when.
func (t *Engine) ended(c *Conn, p *call, d stream.Direction, now int64) {
	m := &p.message[d]
	if now == 0 {
		if end, when := t.options.Passed(&c.key, d); end == c.halves[d].Next {
			now = when
		}
	}
	if m.ended = max(m.ended, now); now == 0 {
		m.ended = 0
	}
	m.done = true
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
	if m := &p.message[stream.ToClient]; m.headDone {
		m.ended, m.unsized = now, true
		problem = request.ProblemCut
	}
	t.finish(c, p, problem, now)
}
