// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

const (
	// maxFrameLine and maxFrameLines bound what is kept of a head beyond its bound: the
	// lines that say where the body ends.
	maxFrameLine  = 128
	maxFrameLines = 512
)

// Keep stores what of a head its bound permits. Of what is beyond it stores only the lines
// that say where the body ends.
func (m *Message) Keep(pool *stream.Pool, data []byte, bound int) {
	m.Size += len(data)
	if !m.Cut {
		n := min(len(data), bound-m.kept)
		var ok bool
		if m.Head, ok = pool.Append(m.Head, data[:n]); !ok {
			m.Cut, m.Partial, m.skip = true, true, true
			m.line = len(m.Head)
			return
		}
		m.kept += n
		if data = data[n:]; len(data) == 0 {
			return
		}
		m.cut(pool)
	}
	for len(data) > 0 && !m.Partial {
		line := data
		end := bytes.IndexByte(data, '\n')
		if end >= 0 {
			line = data[:end+1]
		}
		data = data[len(line):]
		m.frame(pool, line, bound, end >= 0)
	}
}

// cut ends what is kept of a head at its last whole line.
func (m *Message) cut(pool *stream.Pool) {
	m.Cut = true
	if end := bytes.LastIndexByte(m.Head, '\n') + 1; end > 0 {
		m.kept, m.line = end, end
		return
	}
	// Not even the start line is whole.
	m.Head, _ = pool.Append(m.Head, []byte{'\n'})
	m.line, m.skip = len(m.Head), true
}

// frame takes a part of a line beyond the bound.
func (m *Message) frame(pool *stream.Pool, part []byte, bound int, ends bool) {
	if !m.skip {
		var ok bool
		switch {
		case len(m.Head)-m.line+len(part) > maxFrameLine:
			m.skip = true
		case len(m.Head) > bound+maxFrameLines:
			m.Partial = true
		default:
			if m.Head, ok = pool.Append(m.Head, part); !ok {
				m.Partial = true
			}
		}
	}
	if !ends {
		return
	}
	if m.skip || !syntax.Frames(m.Head[m.line:]) {
		m.Head = m.Head[:m.line]
	}
	m.line, m.skip = len(m.Head), false
}

// Take gives away what was kept of the head: it is none.
func (m *Message) Take() []byte {
	head := m.Head
	m.Head, m.kept, m.Size = nil, 0, 0
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
	m.kept, m.Size = len(m.Head), len(m.Head)
}

// Restart makes ready for another message, which replaces this one.
func (m *Message) Restart() { *m = Message{Head: m.Head[:0]} }
