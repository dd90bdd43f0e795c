// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"
	"strconv"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Fill writes what is known of the message.
func (m *Message) Fill(to *request.Message) {
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
	to.Began, to.Ended, to.BodyBegan = m.Began, m.Ended, m.BodyBegan
	to.HeadBytes, to.HeadCut = m.Size, m.Cut
	to.BodyBytes, to.Body, to.BodyCut = m.BodyBytes, m.body, m.BodyCut
	switch {
	case !m.Done:
		to.BodyBytes = -1
	case m.Unsized:
		// The whole body has the announced length (RFC 9113, section 8.1.1).
		to.BodyBytes = announced(to)
	}
	if !m.Done && !m.Unsized {
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

// FillRequest writes what is known of a request. What HTTP/1 has in the request line is not among
// its fields. The authority becomes the host field, in place of any other (RFC 9113, section 8.3.1).
func (m *Message) FillRequest(e *request.Exchange) {
	m.Fill(&e.Request)
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

// Adopt takes the head of a request that was sent by HTTP/1, in the form that HTTP/2 has.
func (m *Message) Adopt(pool *stream.Pool, bound int, e *request.Exchange) {
	m.Add(pool, bound, ":method", string(e.Method))
	m.Add(pool, bound, ":path", string(e.Target))
	for _, f := range e.Request.Fields() {
		m.Add(pool, bound, string(f.Name), string(f.Value))
	}
	m.Began, m.Ended, m.BodyBegan = e.Request.Began, e.Request.Ended, e.Request.BodyBegan
	m.Size, m.Cut = e.Request.HeadBytes, m.Cut || e.Request.HeadCut
	m.HeadDone, m.Done = true, true
	m.Unsized = e.Request.BodyBytes < 0
}
