// SPDX-License-Identifier: Apache-2.0

// Package message keeps what is wanted of one message of HTTP/2: its fields up to a bound, the
// beginning of its body, its trailers, and when it passed.
package message

import (
	"unsafe"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/fields"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// span is a field in the text of a message: its name, then its value.
type span struct{ name, value uint32 }

const spanSize = int(unsafe.Sizeof(span{}))

// usualText is enough for the fields of most messages, so that few buffers grow.
const usualText = 256

// Message is one direction of a call under way. The zero value is ready.
type Message struct {
	// text has the bytes of fields, those of trailers from trailersAt on, if there are any.
	text       []byte
	fields     []span
	trailers   bool
	trailersAt int
	// kept counts what the bound on heads counts.
	kept int
	body []byte
	// Size are the bytes of header blocks, with the heads of their frames.
	Size int
	// Status is that of an answer; 0 if it has none.
	Status int
	// Began, Ended and BodyBegan are when its first byte, its last byte and its first content
	// passed, Unix nanoseconds; 0 if unknown.
	Began, Ended, BodyBegan int64
	// BodyBytes counts the content that was read or passed over.
	BodyBytes int64
	// HeadDone and Done: head and message were read. Cut: fields are missing. BodyCut: the kept
	// beginning of the body lacks bytes that were asked for. Unsized: bytes of the body were missed.
	HeadDone, Done, Cut, BodyCut, Unsized bool
}

// Empty gives back the buffers, and forgets what the message has so far. It is ready for another one.
func (m *Message) Empty(pool *stream.Pool) {
	pool.Put(m.text)
	pool.Put(m.body)
	pool.Release(len(m.fields) * spanSize)
	*m = Message{fields: m.fields[:0]}
}

// Block begins what a header block says: behind the head, it says trailers. It began at a time, and
// has so many bytes.
func (m *Message) Block(began int64, size int) {
	if m.HeadDone {
		m.trailers, m.trailersAt = true, len(m.fields)
		return
	}
	m.Began, m.Size = began, m.Size+size
}

// Field takes a field of a header block. One without a name is missing.
func (m *Message) Field(pool *stream.Pool, bound int, name, value string) {
	switch name {
	case "":
		m.Cut = true
	case ":status":
		m.Status = statusOf(value)
	default:
		m.Add(pool, bound, name, value)
	}
}

// Add keeps a field, as far as the bound on heads permits.
func (m *Message) Add(pool *stream.Pool, bound int, name, value string) {
	m.kept += len(name) + len(value) + fields.EntryOverhead
	if m.kept > bound || !pool.Reserve(spanSize) {
		m.Cut = true
		return
	}
	room := len(name) + len(value)
	if m.text == nil {
		room = max(room, min(usualText, bound))
	}
	var ok bool
	if m.text, ok = pool.Grow(m.text, room); !ok {
		m.Cut = true
		pool.Release(spanSize)
		return
	}
	m.text = append(append(m.text, name...), value...)
	m.fields = append(m.fields, span{uint32(len(name)), uint32(len(value))})
}

// statusOf reads a status; 0 if it is none.
func statusOf(value string) (status int) {
	if len(value) != 3 {
		return 0
	}
	for _, digit := range []byte(value) {
		if digit < '0' || digit > '9' {
			return 0
		}
		status = 10*status + int(digit-'0')
	}
	return status
}

// Content takes bytes of the content, of which so many are kept at the beginning.
func (m *Message) Content(pool *stream.Pool, data []byte, now int64, first int) {
	m.BodyBytes += int64(len(data))
	m.Ended = max(m.Ended, now)
	if m.BodyCut || first == 0 {
		return
	}
	n := min(len(data), first-len(m.body))
	if !m.Keep(pool, data[:n]) || n < len(data) {
		m.BodyCut = true
	}
}

// Keep adds to the beginning of the body that is kept. It reports false without room.
func (m *Message) Keep(pool *stream.Pool, data []byte) (ok bool) {
	m.body, ok = pool.Append(m.body, data)
	return ok
}

// Wants reports whether bytes of the content are wanted still, if so many are at the beginning.
func (m *Message) Wants(first int) bool { return !m.BodyCut && len(m.body) < first }

// BodyBegins notes when the first frame with content came.
func (m *Message) BodyBegins(now int64) {
	if m.HeadDone && m.BodyBegan == 0 && m.BodyBytes == 0 && !m.Unsized {
		m.BodyBegan = now
	}
}

// End closes the message. Its last byte passed at a time, 0 if nobody saw when.
func (m *Message) End(now int64) {
	if m.Ended = max(m.Ended, now); now == 0 {
		m.Ended = 0
	}
	m.Done = true
}
