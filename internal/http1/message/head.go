// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Keep stores what of a head its bound and the pool permit. What is beyond is only read, for
// what says where the body ends.
func (m *Message) Keep(pool *stream.Pool, data []byte, bound int) {
	m.Size += len(data)
	if !m.scanned {
		n := min(len(data), bound-len(m.Head))
		var ok bool
		if m.Head, ok = pool.Append(m.Head, data[:n]); ok {
			if data = data[n:]; len(data) == 0 {
				return
			}
		}
		m.cut()
	}
	m.scan.Read(data)
}

// cut ends what is kept of a head at its last whole line, or in a start line that is not whole.
func (m *Message) cut() {
	m.Cut, m.scanned = true, true
	m.scan.Read(m.Head)
	if end := bytes.LastIndexByte(m.Head, '\n') + 1; end > 0 {
		m.Head = m.Head[:end]
	}
}

// HasVersion reports whether the start line of a request names a version.
func (m *Message) HasVersion() bool {
	if m.scanned {
		return m.scan.HasVersion()
	}
	return syntax.HasVersion(m.Head)
}

// KeepWhole stores a head that came whole and was read. It reports false if not all was stored:
// then what was read of it counts no more.
func (m *Message) KeepWhole(pool *stream.Pool, data []byte, bound int, read *syntax.Head) bool {
	m.Keep(pool, data, bound)
	if !m.scanned {
		m.learn(read, data)
	}
	return !m.scanned
}

// line is where in the head the start line is, and what it says.
type line struct {
	known, valid        bool
	eventStream         bool
	version             request.Version
	status              uint16
	method              uint32
	target, targetBytes uint32
	fields              uint32
}

// learn remembers what was read of the whole head.
func (m *Message) learn(read *syntax.Head, head []byte) {
	m.line = line{
		known: true, valid: read.Valid, eventStream: read.EventStream, version: read.Version, status: uint16(read.Status),
		method: uint32(len(read.Method)), targetBytes: uint32(len(read.Target)), fields: uint32(read.Line),
	}
	if len(read.Target) > 0 {
		// Both end where their memory does.
		m.line.target = uint32(cap(head) - cap(read.Target))
	}
}

// ReadRequest reads the head of a request. It reports false if the start line is none.
func (m *Message) ReadRequest(to *syntax.Head) bool {
	if m.scanned {
		_, ok := m.startScanned(to)
		return ok
	}
	ok := to.ParseRequest(m.Head)
	if to.Line > 0 {
		m.learn(to, m.Head)
	}
	return ok
}

// RequestLine returns what the start line of a request says. It reports false if the line is
// none, or has not ended: that says neither all of the method nor of the target.
func (m *Message) RequestLine() (line syntax.Head, ok bool) {
	switch l := &m.line; {
	case l.known:
		line.Version = l.version
		line.Method, line.Target = m.Head[:l.method:l.method], m.Head[l.target:l.target+l.targetBytes]
		return line, l.valid
	case m.scanned:
		_, ok = m.startScanned(&line)
	default:
		_, ok = line.StartRequest(m.Head)
		ok = ok && line.Line > 0
	}
	return line, ok
}

// startScanned takes the method and the target from what is kept, as far as it goes.
func (m *Message) startScanned(to *syntax.Head) (fields []byte, ok bool) {
	var kept syntax.Head
	ok = m.scan.Request(to)
	fields, whole := kept.StartRequest(m.Head)
	if whole {
		to.Method, to.Target = kept.Method, kept.Target
		if bytes.IndexByte(m.Head, '\n') < 0 {
			to.Target, _, _ = bytes.Cut(to.Target, []byte{' '})
		}
	}
	return fields, ok
}

// ReadAnswer reads the head of an answer. It reports false if the start line is none.
func (m *Message) ReadAnswer(to *syntax.Head) bool {
	if m.scanned {
		return m.scan.Answer(to)
	}
	ok := to.ParseAnswer(m.Head)
	if ok && to.Line > 0 {
		m.learn(to, m.Head)
	}
	return ok
}

// AnswerLine returns what the start line of an answer says: nothing if it is none.
func (m *Message) AnswerLine() (line syntax.Head) {
	switch l := &m.line; {
	case l.known:
		line.Version, line.Status = l.version, int(l.status)
	case m.scanned:
		m.scan.Answer(&line)
	default:
		line.StartAnswer(m.Head)
	}
	return line
}

// fieldText is what is kept of the fields.
func (m *Message) fieldText() []byte {
	if m.line.known {
		return m.Head[m.line.fields:]
	}
	_, fields, _ := bytes.Cut(m.Head, []byte{'\n'})
	return fields
}

// MayAnswer reports whether what came of the head and data can begin an answer.
func (m *Message) MayAnswer(data []byte) bool {
	if m.scanned {
		return syntax.MayAnswer(m.scan.Beginning(), data)
	}
	return syntax.MayAnswer(m.Head, data)
}

// Take gives away what was kept of the head: it is none.
func (m *Message) Take() []byte {
	head := m.Head
	m.Head, m.Size, m.Cut, m.scanned, m.line = nil, 0, false, false, line{}
	return head
}

// Probe adds bytes to the head that may not belong to it. Unprobe takes them out again.
func (m *Message) Probe(pool *stream.Pool, data []byte) (ok bool) {
	m.Head, ok = pool.Append(m.Head, data)
	return ok
}

// Unprobe leaves the first size bytes of the head, without the first skip of them.
func (m *Message) Unprobe(size, skip int) {
	m.Head = m.Head[:copy(m.Head, m.Head[skip:size])]
	m.Size = len(m.Head)
	m.Start += uint32(skip)
}

// Restart makes ready for another message, which replaces this one.
func (m *Message) Restart() { *m = Message{Head: m.Head[:0]} }
