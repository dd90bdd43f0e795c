// SPDX-License-Identifier: Apache-2.0

// Package message keeps what is wanted of one HTTP/1 message: its head up to a bound, the
// beginning and the end of its body, its trailers, and when it passed.
package message

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Message is one direction of an exchange under way. The zero value is ready.
type Message struct {
	// Head are the first bytes of the head. scan has read all of it, if scanned.
	Head    []byte
	scan    syntax.Scan
	scanned bool
	// line is what was read of a head that is kept.
	line line
	// Size are the bytes of the head on the wire.
	Size int
	// Start and End are the numbers of the first byte, and of the one after the last that was
	// read.
	Start, End uint32
	// Acknowledgment is that of the segment with the first byte.
	Acknowledgment uint32
	Began, Ended   int64
	bodyBegan      int64
	BodyBytes      int64
	body           []byte
	tail           []byte
	trailers       []byte
	// HeadDone and Done: head and message were read. Cut: Head lacks bytes. BodyCut: the body
	// lacks bytes that were asked for. Unsized: nobody knows the size of the body.
	HeadDone, Done, Cut, BodyCut, Unsized bool
}

// Begin says where and when a message begins.
func (m *Message) Begin(chunk *stream.Chunk) {
	m.Start, m.End, m.Acknowledgment = chunk.Sequence, chunk.Sequence, chunk.Acknowledgment
	m.Began, m.Ended = chunk.Time, chunk.Time
}

// Content takes bytes of the body. It keeps the first and the last, as many as asked for.
func (m *Message) Content(pool *stream.Pool, data []byte, now int64, first, tail int) {
	if first > 0 && m.BodyBytes == 0 && len(data) > 0 {
		m.bodyBegan = now
	}
	m.BodyBytes += int64(len(data))
	m.Ended = max(m.Ended, now)
	if !m.BodyCut && first > 0 {
		n := min(len(data), first-len(m.body))
		ok := true
		if m.body, ok = pool.Append(m.body, data[:n]); !ok || n < len(data) {
			m.BodyCut = true
		}
	}
	if tail > 0 {
		m.last(pool, data, tail)
	}
}

// last keeps the last bytes of a body. Half of its buffer is room to append.
func (m *Message) last(pool *stream.Pool, data []byte, bound int) {
	if over := len(data) - bound; over > 0 {
		data, m.tail = data[over:], m.tail[:0]
	}
	if over := len(m.tail) + len(data) - bound; over > 0 && len(m.tail)+len(data) > 2*bound {
		m.tail = m.tail[:copy(m.tail, m.tail[over:])]
	}
	var ok bool
	if m.tail, ok = pool.Append(m.tail, data); !ok {
		m.tail = m.tail[:0]
	}
}

// Wants reports whether bytes of the body are wanted, of which the first ones were asked for.
func (m *Message) Wants(first int) bool { return !m.BodyCut && len(m.body) < first }

// PassOver counts bytes of the body that are not read, of which the first ones were asked for.
func (m *Message) PassOver(n int64, first int) {
	m.BodyBytes += n
	m.BodyCut = m.BodyCut || first > 0
	m.tail = m.tail[:0]
}

// Trailer takes bytes of the trailers, up to a bound.
func (m *Message) Trailer(pool *stream.Pool, data []byte, bound int) {
	ok := len(data) <= bound-len(m.trailers)
	if ok {
		m.trailers, ok = pool.Append(m.trailers, data)
	}
	m.Cut = m.Cut || !ok
}

// Differences counts the bytes of a segment that differ from what is kept of the head.
func (m *Message) Differences(sequence uint32, data []byte) int {
	return stream.Differences(m.Start, m.Head, sequence, data)
}

// Fill writes what is known. At most tail bytes of the body's end count.
func (m *Message) Fill(to *request.Message, tail int) {
	if m.line.known {
		to.SetUnread(m.fieldText(), syntax.AppendFields)
		to.EventStream = m.line.eventStream
	} else {
		to.SetFields(syntax.AppendFields(to.Fields(), m.fieldText())...)
	}
	to.Trailers = syntax.AppendFields(to.Trailers, m.trailers)
	to.Began, to.BodyBegan, to.Ended = m.Began, m.bodyBegan, m.Ended
	to.HeadBytes, to.HeadCut = m.Size, m.Cut
	to.BodyBytes = m.BodyBytes
	if m.Unsized {
		to.BodyBytes = -1
	}
	if !m.Done {
		to.Ended = 0
	}
	to.Body, to.BodyCut = m.body, m.BodyCut
	if int64(len(m.body)) < m.BodyBytes || m.Unsized {
		to.Tail = m.tail[max(0, len(m.tail)-tail):]
	}
}

// Empty gives back the buffers.
func (m *Message) Empty(pool *stream.Pool) {
	for _, b := range []*[]byte{&m.Head, &m.body, &m.tail, &m.trailers} {
		pool.Put(*b)
		*b = nil
	}
	m.line = line{}
}
