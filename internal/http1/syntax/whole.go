// SPDX-License-Identifier: Apache-2.0

package syntax

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// WholeRequest reads the head of a request that begins with data, in one pass. It returns the
// size of the head; 0 if data lacks its end, or if it is unusual. Then End and ParseRequest read
// it.
func (h *Head) WholeRequest(data []byte) int {
	rest, _ := h.StartRequest(data)
	size := h.whole(data, rest)
	if h.Framing == UntilClose {
		h.Framing = None
	}
	return size
}

// WholeAnswer is like WholeRequest, for an answer.
func (h *Head) WholeAnswer(data []byte) int {
	rest, _ := h.StartAnswer(data)
	return h.whole(data, rest)
}

// whole reads fields up to the empty line behind them, and returns the size of the head; 0 if
// there is none, if lines are folded, or if an empty line comes first. Most fields say nothing
// about framing, so it looks at how each line begins, and only reads those that may.
func (h *Head) whole(data, rest []byte) int {
	if Blank(data) > 0 {
		return 0
	}
	var f framingFields
	for {
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			return 0
		}
		line := rest[:n+1]
		rest = rest[n+1:]
		if n == 0 || n == 1 && line[0] == '\r' {
			f.fill(h)
			return len(data) - len(rest)
		}
		if isSpace(line[0]) {
			return 0
		}
		if !mayFrame(line) {
			continue
		}
		if colon := bytes.IndexByte(line, ':'); colon > 0 {
			f.read(h, &request.Field{Name: trim(line[:colon]), Value: trim(line[colon+1:])})
		}
	}
}

// mayFrame reports whether a line may be a field that framingFields reads.
func mayFrame(line []byte) bool {
	if len(line) < len("expect:") {
		return false
	}
	switch line[0] | 0x20 {
	case 'c':
		return line[3]|0x20 == 't' // Content, not Connection
	case 'e':
		return line[1]|0x20 == 'x'
	case 't':
		return line[1]|0x20 == 'r'
	case 'u':
		return line[1]|0x20 == 'p' // Upgrade, not User-Agent
	default:
		return false
	}
}

// framingFields is what fields say of the end of a body.
type framingFields struct {
	size                         int64
	sized, encoded, chunked, bad bool
	typed                        bool
}

// read takes a field. A transfer encoding overrides a length, and the first content type counts.
func (f *framingFields) read(h *Head, field *request.Field) {
	switch len(field.Name) {
	case len("expect"):
		h.Expect = h.Expect || request.EqualFold(field.Name, "expect")
	case len("upgrade"):
		h.Upgrade = h.Upgrade || request.EqualFold(field.Name, "upgrade")
	case len("content-type"):
		if !f.typed && request.EqualFold(field.Name, "content-type") {
			f.typed, h.EventStream = true, request.IsEventStream(field.Value)
		}
	case len("content-length"):
		if request.EqualFold(field.Name, "content-length") {
			f.length(field.Value)
		}
	case len("transfer-encoding"):
		if request.EqualFold(field.Name, "transfer-encoding") && !request.EqualFold(field.Value, "identity") {
			f.encoded, f.chunked = true, endsChunked(field.Value)
		}
	}
}

// length reads a list of equal lengths.
func (f *framingFields) length(value []byte) {
	for more := true; more; {
		var word []byte
		word, value, more = bytes.Cut(value, []byte{','})
		n, ok := number(trim(word))
		if !ok || f.sized && n != f.size {
			f.bad = true
			return
		}
		f.size, f.sized = n, true
	}
}

func (f *framingFields) fill(h *Head) {
	switch h.Framing = UntilClose; {
	case f.chunked:
		h.Framing = Chunked
	case f.encoded:
	case f.bad:
		h.Framing = Invalid
	case f.sized && f.size == 0:
		h.Framing = None
	case f.sized:
		h.Framing, h.Size = Length, f.size
	}
}
