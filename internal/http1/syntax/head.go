// SPDX-License-Identifier: Apache-2.0

// Package syntax reads HTTP/1.x as servers do that are lenient: bare line feeds, missing
// versions and odd targets are answered, so they are requests. Nothing here allocates.
package syntax

import (
	"bytes"
	"math"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// End finds the end of a head in the pieces that it comes in. The zero value is ready.
type End struct {
	// line are the bytes of the present line, of which cr is set if that is all.
	line, lines uint32
	cr          bool
}

// Lines are the lines that ended.
func (e *End) Lines() int { return int(e.lines) }

// Find returns how many bytes of data belong to the head, and whether it ends with them.
func (e *End) Find(data []byte) (int, bool) {
	for at := 0; at < len(data); {
		rest := data[at:]
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			e.cr = e.line == 0 && len(rest) == 1 && rest[0] == '\r'
			e.line = min(e.line, 1<<30) + uint32(len(rest))
			return len(data), false
		}
		at += n + 1
		e.lines++
		length, cr := e.line+uint32(n), e.cr
		if e.line == 0 && n == 1 {
			cr = rest[0] == '\r'
		}
		e.line, e.cr = 0, false
		if length == 0 || length == 1 && cr {
			return at, true
		}
	}
	return len(data), false
}

// Framing says where a body ends.
type Framing uint8

// Framings.
const (
	// None is a message without a body.
	None Framing = iota
	// Length is a body of a known length.
	Length
	// Chunked is a body in chunks.
	Chunked
	// UntilClose is a body that ends with the connection.
	UntilClose
	// Invalid is a head whose fields contradict each other.
	Invalid
)

// Head is what the start line and the fields about framing say. Its bytes are those of the
// head.
type Head struct {
	Method, Target []byte
	Version        request.Version
	// Status is 0 in a request.
	Status int
	// Framing and Size are those of the fields alone.
	Framing Framing
	Size    int64
	// Upgrade is set if the client asks to leave HTTP.
	Upgrade bool
	// Expect is set if the client waits before it sends the body.
	Expect bool
	// EventStream is set if the content is a stream of events.
	EventStream bool
	// Line are the bytes of the start line with its line break; 0 if it has not ended.
	Line int
	// Valid is set if the start line is one.
	Valid bool
}

// ParseRequest reads the head of a request. It reports false if the start line is none.
func (h *Head) ParseRequest(head []byte) bool {
	rest, ok := h.StartRequest(head)
	h.fields(rest)
	if h.Framing == UntilClose {
		h.Framing = None
	}
	return ok
}

// StartRequest reads only the start line, and returns what follows it.
func (h *Head) StartRequest(head []byte) (rest []byte, ok bool) {
	*h = Head{}
	line, rest := cutLine(head)
	h.Line, h.Valid = lineSize(head, rest), h.requestLine(line)
	return rest, h.Valid
}

// requestLine reads "METHOD SP target SP HTTP/1.x". Target or version can be missing, and
// the target can have spaces.
func (h *Head) requestLine(line []byte) bool {
	space := bytes.IndexByte(line, ' ')
	if space <= 0 || !isToken(line[:space]) {
		return false
	}
	h.Method = line[:space]
	target := trim(line[space+1:])
	if at := bytes.LastIndexByte(target, ' '); hasVersion(target[at+1:]) {
		h.Version = version(target[at+1:])
		target = trim(target[:max(at, 0)])
	} else if !isTarget(target) {
		return false
	}
	h.Target = target
	return true
}

// isTarget reports whether text can be a target even if no version follows it.
func isTarget(text []byte) bool {
	return len(text) > 0 && (text[0] == '/' || bytes.Contains(text, []byte("://")))
}

// IsRequest reports whether data begins with a whole line that starts a request of
// HTTP/1.x. Its method is a usual one, because the rest of another line can look like one.
func IsRequest(data []byte) bool {
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		return false
	}
	var h Head
	return h.requestLine(trim(data[:end])) && h.Version != request.VersionUnknown && isUsual(h.Method)
}

// isUsual reports whether a method is one that servers know.
func isUsual(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
		"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH":
		return true
	default:
		return false
	}
}

// HasVersion reports whether the start line of a head names a version.
func HasVersion(head []byte) bool {
	line, _ := cutLine(head)
	line = trim(line)
	return hasVersion(line[bytes.LastIndexByte(line, ' ')+1:])
}

func hasVersion(word []byte) bool { return len(word) >= 5 && string(word[:5]) == "HTTP/" }

func version(word []byte) request.Version {
	switch string(word) {
	case "HTTP/1.1":
		return request.Version11
	case "HTTP/1.0":
		return request.Version10
	default:
		return request.VersionUnknown
	}
}

// ParseAnswer reads the head of an answer. It reports false if the start line is none.
func (h *Head) ParseAnswer(head []byte) bool {
	rest, ok := h.StartAnswer(head)
	if ok {
		h.fields(rest)
	}
	return ok
}

// StartAnswer reads only the start line, and returns what follows it. Status stays 0 if it
// reports false.
func (h *Head) StartAnswer(head []byte) (rest []byte, ok bool) {
	*h = Head{Framing: UntilClose}
	line, rest := cutLine(head)
	h.Line, h.Valid = lineSize(head, rest), h.statusLine(line)
	return rest, h.Valid
}

// statusLine reads "HTTP/1.x SP 3DIGIT" and ignores what follows.
func (h *Head) statusLine(line []byte) bool {
	space := bytes.IndexByte(line, ' ')
	if space < 0 || !hasVersion(line[:space]) {
		return false
	}
	h.Version = version(line[:space])
	code := trim(line[space:])
	if len(code) < 3 || len(code) > 3 && isDigit(code[3]) {
		return false
	}
	status := 0
	for _, c := range code[:3] {
		if !isDigit(c) {
			return false
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 {
		return false
	}
	h.Status = status
	return true
}

// fields reads those that say how long the body is.
func (h *Head) fields(rest []byte) {
	var f framingFields
	for len(rest) > 0 {
		var field request.Field
		var ok bool
		if field, rest, ok = next(rest); ok {
			f.read(h, &field)
		}
	}
	f.fill(h)
}

func number(word []byte) (n int64, ok bool) {
	for _, c := range word {
		if !isDigit(c) || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(word) > 0
}

// endsChunked reports whether the last encoding of a list is chunked.
func endsChunked(value []byte) bool {
	return request.EqualFold(trim(value[bytes.LastIndexByte(value, ',')+1:]), "chunked")
}

// AppendFields appends the fields of a head without its start line, or of trailers.
func AppendFields(fields []request.Field, rest []byte) []request.Field {
	for len(rest) > 0 {
		var field request.Field
		var ok bool
		if field, rest, ok = next(rest); ok {
			fields = append(fields, field)
		}
	}
	return fields
}

// next returns the first field of rest, and reports whether the line is one. A line that
// begins with white space continues the value before it.
func next(rest []byte) (field request.Field, after []byte, ok bool) {
	line, after := cutLine(rest)
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return field, after, false
	}
	field.Name = trim(line[:colon])
	value := line[colon+1:]
	for len(after) > 0 && isSpace(after[0]) {
		more, beyond := cutLine(after)
		if len(trim(more)) == 0 {
			break
		}
		value = rest[colon+1 : len(rest)-len(beyond)]
		after = beyond
	}
	field.Value = trim(value)
	return field, after, len(field.Name) > 0
}

// cutLine cuts after the first line feed and drops it, with the carriage returns before.
func cutLine(text []byte) (line, rest []byte) {
	end := bytes.IndexByte(text, '\n')
	if end < 0 {
		end = len(text)
	} else {
		rest = text[end+1:]
	}
	if end > 0 && text[end-1] == '\r' {
		end--
	}
	return text[:end], rest
}

// lineSize is what cutLine took before rest; 0 if the line has not ended.
func lineSize(text, rest []byte) int {
	if rest == nil {
		return 0
	}
	return len(text) - len(rest)
}

func trim(text []byte) []byte {
	for len(text) > 0 && isSpace(text[0]) {
		text = text[1:]
	}
	for n := len(text); n > 0 && (isSpace(text[n-1]) || text[n-1] == '\r' || text[n-1] == '\n'); n = len(text) {
		text = text[:n-1]
	}
	return text
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// token has a bit for each character that a method can have.
var token = func() (set [256]bool) {
	for c := '0'; c <= 'z'; c++ {
		set[c] = c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		set[c] = true
	}
	return set
}()

func isToken(text []byte) bool {
	for _, c := range text {
		if !token[c] {
			return false
		}
	}
	return len(text) > 0
}
