// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/message"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// finish reports an exchange, and forgets it.
func (t *Engine) finish(c *Conn, p *pending, problem request.Problem, now int64) {
	if p.problem != request.ProblemNone {
		problem = p.problem
	}
	switch {
	case p.several:
		c.evidence.Lost()
	case p.malformed:
		c.evidence.Doubt()
	}
	if h := &c.halves[stream.ToServer]; h.msg == p && p.expect && h.state == stateBody {
		h.withhold = p.message[stream.ToServer].BodyBytes == 0
	}
	answered := p.message[stream.ToClient].HeadDone
	if answered && !p.alone {
		c.evidence.Paired()
	}
	switch {
	case p.told:
		t.figures.Late++
	default:
		t.write(c, p, problem, now, !p.alone, answered || problem == request.ProblemMalformedAnswer)
	}
	t.release(c, p)
}

// write fills an exchange and passes it on.
func (t *Engine) write(c *Conn, p *pending, problem request.Problem, now int64, asked, answered bool) {
	e := t.renew(c)
	e.Problem, e.Finished, e.Switched, e.Overlapped = problem, now, p.switched, p.overlapped
	if p.retransmits >= 0 && c.retransmits >= p.retransmits {
		e.Retransmits = c.retransmits - p.retransmits
	}
	if asked {
		m := &p.message[stream.ToServer]
		m.Cut = m.Cut || !m.HeadDone
		t.fillRequest(e, m)
	}
	if answered {
		m := &p.message[stream.ToClient]
		fields, _ := m.StartAnswer(&t.parsed)
		e.Status = t.parsed.Status
		if e.Version == request.VersionUnknown {
			e.Version = t.parsed.Version
		}
		m.Fill(&e.Answer, fields, c.port.AnswerTail)
	}
	t.figures.Reported++
	t.report(e)
}

// renew empties the exchange that is reported, except for its memory.
func (t *Engine) renew(c *Conn) *request.Exchange {
	e := &t.out
	asked := request.Message{Fields: e.Request.Fields[:0], Trailers: e.Request.Trailers[:0]}
	answered := request.Message{Fields: e.Answer.Fields[:0], Trailers: e.Answer.Trailers[:0]}
	*e = request.Exchange{Connection: c.Connection, Request: asked, Answer: answered, Retransmits: -1}
	return e
}

// fillRequest writes what is known of a request.
func (t *Engine) fillRequest(e *request.Exchange, m *message.Message) {
	fields, ok := m.StartRequest(&t.parsed)
	if ok {
		e.Method, e.Target, e.Version = t.parsed.Method, t.parsed.Target, t.parsed.Version
	}
	m.Fill(&e.Request, fields, 0)
	if m.HeadDone && !m.Done {
		e.Request.BodyBytes = -1
	}
}
