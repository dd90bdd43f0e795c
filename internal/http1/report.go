// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/queue"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// finish reports an exchange, and forgets it.
func (t *Engine) finish(c *Conn, p *queue.Turn, problem request.Problem, now int64) {
	if p.Problem != request.ProblemNone {
		problem = p.Problem
	}
	switch {
	case p.Several:
		c.evidence.Lost()
	case p.Malformed:
		c.evidence.Doubt()
	}
	if h := &c.halves[stream.ToServer]; h.msg == p && p.Expect && h.state == stateBody {
		h.withhold = p.Message[stream.ToServer].BodyBytes == 0
	}
	answered := p.Message[stream.ToClient].HeadDone
	if answered && !p.Alone {
		c.evidence.Paired()
	}
	if p.Told {
		t.figures.Late++
	} else {
		t.write(c, p, problem, now, !p.Alone, answered || problem == request.ProblemMalformedAnswer)
	}
	t.release(c, p)
}

// write fills an exchange and passes it on.
func (t *Engine) write(c *Conn, p *queue.Turn, problem request.Problem, now int64, asked, answered bool) {
	e := t.renew(c)
	e.Problem, e.Finished, e.Switched, e.Overlapped = problem, now, p.Switched, p.Overlapped
	if p.Retransmits >= 0 && c.retransmits >= p.Retransmits {
		e.Retransmits = c.retransmits - p.Retransmits
	}
	if asked {
		m := &p.Message[stream.ToServer]
		m.Cut = m.Cut || !m.HeadDone
		p.FillRequest(e)
	}
	if answered {
		p.FillAnswer(e, c.port.AnswerTail)
	}
	t.figures.Reported++
	t.report(e)
}

// renew empties the exchange that is reported, except for its memory.
func (t *Engine) renew(c *Conn) *request.Exchange {
	t.out.Renew(&c.Connection)
	return &t.out
}
