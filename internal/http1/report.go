// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// finish reports an exchange, and forgets it.
func (t *Engine) finish(c *Conn, p *pending, problem request.Problem, now int64) {
	if p.problem != request.ProblemNone {
		problem = p.problem
	}
	if p.malformed {
		// Nobody knows how many requests the server saw.
		c.proven = false
	}
	if h := &c.halves[stream.ToServer]; h.msg == p && p.expect && h.state == stateBody {
		h.withhold = p.message[stream.ToServer].bodyBytes == 0
	}
	answered := p.message[stream.ToClient].headDone
	if answered && !p.alone && c.alternates {
		c.completed++
	}
	switch {
	case p.told:
		t.figures.Late++
	case p.observed && answered:
		t.write(c, p, request.ProblemMissed, now, true, false)
		t.write(c, p, request.ProblemNoRequest, now, false, true)
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
		m.cut = m.cut || !m.headDone
		// A start line without its end says neither all of the method nor of the target.
		if bytes.IndexByte(m.head, '\n') >= 0 && t.parsed.ParseRequest(m.head) {
			e.Method, e.Target, e.Version = t.parsed.Method, t.parsed.Target, t.parsed.Version
		}
		m.fill(&e.Request, 0)
		if m.headDone && !m.done {
			e.Request.BodyBytes = -1
		}
	}
	if answered {
		m := &p.message[stream.ToClient]
		if t.parsed.ParseAnswer(m.head) {
			e.Status = t.parsed.Status
		}
		if e.Version == request.VersionUnknown {
			e.Version = t.parsed.Version
		}
		m.fill(&e.Answer, c.port.AnswerTail)
	}
	t.figures.Reported++
	t.report(e)
}

// fill writes what is known of a message.
func (m *message) fill(to *request.Message, tail int) {
	to.Fields = syntax.AppendFields(to.Fields, syntax.AfterStart(m.head))
	to.Trailers = syntax.AppendFields(to.Trailers, m.trailers)
	to.Began, to.Ended = m.began, m.ended
	to.HeadBytes, to.HeadCut = m.size, m.cut
	to.BodyBytes = m.bodyBytes
	if m.unsized {
		to.BodyBytes = -1
	}
	if !m.done {
		to.Ended = 0
	}
	to.Body, to.BodyCut = m.body, m.bodyCut
	if int64(len(m.body)) < m.bodyBytes || m.unsized {
		to.Tail = m.tail[max(0, len(m.tail)-tail):]
	}
}

func (t *Engine) emptyMessage(m *message) {
	for _, b := range []*[]byte{&m.head, &m.body, &m.tail, &m.trailers} {
		t.pool.Put(*b)
		*b = nil
	}
	m.kept, m.line = 0, 0
}
