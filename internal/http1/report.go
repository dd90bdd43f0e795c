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
	if p.told {
		t.figures.Late++
	} else {
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
		line := m.AnswerLine()
		e.Status = line.Status
		if e.Version == request.VersionUnknown {
			e.Version = line.Version
		}
		m.Fill(&e.Answer, c.port.AnswerTail)
	}
	t.figures.Reported++
	t.report(e)
}

// renew empties the exchange that is reported, except for its memory.
func (t *Engine) renew(c *Conn) *request.Exchange {
	t.out.Renew(&c.Connection)
	return &t.out
}

// fillRequest writes what is known of a request.
func (t *Engine) fillRequest(e *request.Exchange, m *message.Message) {
	if line, ok := m.RequestLine(); ok {
		e.Method, e.Target, e.Version = line.Method, line.Target, line.Version
	}
	m.Fill(&e.Request, 0)
	if m.HeadDone && !m.Done {
		e.Request.BodyBytes = -1
	}
}
