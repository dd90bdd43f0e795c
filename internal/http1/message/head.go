// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
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

// ReadRequest reads the head of a request. It reports false if the start line is none.
func (m *Message) ReadRequest(to *syntax.Head) bool {
	if !m.scanned {
		return to.ParseRequest(m.Head)
	}
	_, ok := m.startScanned(to)
	return ok
}

// StartRequest reads the start line of a request, and returns the fields that are kept. It
// reports false if the line is none, or has not ended: that says neither all of the method
// nor of the target.
func (m *Message) StartRequest(to *syntax.Head) (fields []byte, ok bool) {
	if m.scanned {
		return m.startScanned(to)
	}
	fields, ok = to.StartRequest(m.Head)
	return fields, ok && bytes.IndexByte(m.Head, '\n') >= 0
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
	if !m.scanned {
		return to.ParseAnswer(m.Head)
	}
	return m.scan.Answer(to)
}

// StartAnswer reads the start line of an answer, and returns the fields that are kept. It
// reports false if the line is none.
func (m *Message) StartAnswer(to *syntax.Head) (fields []byte, ok bool) {
	fields, ok = to.StartAnswer(m.Head)
	if m.scanned {
		ok = m.scan.Answer(to)
	}
	return fields, ok
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
	m.Head, m.Size, m.Cut, m.scanned = nil, 0, false, false
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
