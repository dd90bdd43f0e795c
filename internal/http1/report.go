// SPDX-License-Identifier: Apache-2.0

package http1

import (
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
	if asked, m := &p.message[stream.ToServer], &p.message[stream.ToClient]; answered && !p.alone {
		c.evidence.Paired(asked.End-asked.Start, m.End, m.Done && !m.Unsized)
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
	e := &t.out
	requestMemory, answerMemory := e.Request, e.Answer
	*e = request.Exchange{
		Connection: c.Connection, Problem: problem, Finished: now, Switched: p.switched,
		Retransmits: -1, Overlapped: p.overlapped,
	}
	if p.retransmits >= 0 && c.retransmits >= p.retransmits {
		e.Retransmits = c.retransmits - p.retransmits
	}
	e.Request.Fields, e.Request.Trailers = requestMemory.Fields[:0], requestMemory.Trailers[:0]
	e.Answer.Fields, e.Answer.Trailers = answerMemory.Fields[:0], answerMemory.Trailers[:0]
	if asked {
		m := &p.message[stream.ToServer]
		m.Cut = m.Cut || !m.HeadDone
		fields, ok := m.StartRequest(&t.parsed)
		if ok {
			e.Method, e.Target, e.Version = t.parsed.Method, t.parsed.Target, t.parsed.Version
		}
		m.Fill(&e.Request, fields, 0)
		if m.HeadDone && !m.Done {
			e.Request.BodyBytes = -1
		}
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
