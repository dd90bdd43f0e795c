// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// finish reports a call, and forgets it.
func (t *Engine) finish(c *Conn, p *call, problem request.Problem, now int64) {
	if p.problem != request.ProblemNone {
		problem = p.problem
	}
	switch {
	case p.held:
		c.stray = true
		t.options.Lost(stream.LossUnproven, 1)
	case p.told:
		t.figures.Late++
	default:
		t.write(c, p, problem, now)
	}
	t.release(c, p)
}

// write fills an exchange and passes it on.
func (t *Engine) write(c *Conn, p *call, problem request.Problem, now int64) {
	e := &t.out
	e.Renew(&c.Connection)
	e.Problem, e.Finished, e.Version = problem, now, request.Version2
	if p.retransmits >= 0 && c.retransmits >= p.retransmits {
		e.Retransmits = c.retransmits - p.retransmits
	}
	if !p.alone {
		p.message[stream.ToServer].FillRequest(e)
	}
	if m := &p.message[stream.ToClient]; m.HeadDone {
		m.Fill(&e.Answer)
		e.Status = m.Status
	}
	t.figures.Reported++
	t.report(e)
}
