// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"strconv"

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
		p.message[stream.ToServer].fill(&e.Request)
		takePseudo(e)
	}
	if m := &p.message[stream.ToClient]; m.headDone {
		m.fill(&e.Answer)
		e.Status = m.status
	}
	t.figures.Reported++
	t.report(e)
}

// fill writes what is known of a message.
func (m *message) fill(to *request.Message) {
	at, fields := uint32(0), to.Fields()
	for i, s := range m.fields {
		name := m.text[at : at+s.name]
		value := m.text[at+s.name : at+s.name+s.value]
		at += s.name + s.value
		if m.trailers && i >= m.trailersAt {
			to.Trailers = append(to.Trailers, request.Field{Name: name, Value: value})
			continue
		}
		fields = append(fields, request.Field{Name: name, Value: value})
	}
	to.SetFields(fields...)
	to.Began, to.Ended, to.BodyBegan = m.began, m.ended, m.bodyBegan
	to.HeadBytes, to.HeadCut = m.size, m.cut
	to.BodyBytes, to.Body, to.BodyCut = m.bodyBytes, m.body, m.bodyCut
	switch {
	case !m.done:
		to.BodyBytes = -1
	case m.unsized:
		// The whole body has the announced length (RFC 9113, section 8.1.1).
		to.BodyBytes = announced(to)
	}
	if !m.done && !m.unsized {
		to.Ended = 0
	}
}

// announced is the length that a message announces; -1 without one.
func announced(m *request.Message) int64 {
	n, err := strconv.ParseInt(string(m.Field("content-length")), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// takePseudo moves what HTTP/1 has in the request line out of the fields. The authority
// becomes the host field, in place of any other (RFC 9113, section 8.3.1).
func takePseudo(e *request.Exchange) {
	all := e.Request.Fields()
	fields := all[:0]
	authority := e.Request.Field(":authority")
	for _, f := range all {
		switch {
		case string(f.Name) == ":method":
			e.Method = f.Value
		case string(f.Name) == ":path":
			e.Target = f.Value
		case string(f.Name) == ":authority":
			fields = append(fields, request.Field{Name: []byte("host"), Value: f.Value})
		case bytes.HasPrefix(f.Name, []byte{':'}):
		case authority != nil && request.EqualFold(f.Name, "host"):
		default:
			fields = append(fields, f)
		}
	}
	// CONNECT has an authority in place of a path.
	if len(e.Target) == 0 && string(e.Method) == "CONNECT" {
		e.Target = authority
	}
	e.Request.SetFields(fields...)
}
