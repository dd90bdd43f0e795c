// SPDX-License-Identifier: Apache-2.0

package privacy

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/ebpftcp/ebpftcpreceiver/internal/jsonscan"
)

// Places of bodies in the list.
const (
	BodyRequest  = "body.request"
	BodyResponse = "body.response"
)

// Body appends a decoded body. where is BodyRequest or BodyResponse. cut is set if its end
// is missing: then what may be the beginning of a match is redacted, too.
func (r *Redactor) Body(dst, body []byte, cut bool, where string, list *List) []byte {
	if !r.markBody(body, cut, where, list) {
		return append(dst, body...)
	}
	return r.spans.write(dst, body)
}

// JSON is Body for a body that is one JSON text. What was JSON stays so: names and strings
// are redacted inside of their quotes, and other values become a string.
func (r *Redactor) JSON(dst, body []byte, cut bool, where string, list *List) []byte {
	if !r.markBody(body, cut, where, list) {
		return append(dst, body...)
	}
	return r.spans.writeJSON(dst, body)
}

// Withholds reports whether a body must not be shown because the patterns can't read it: it
// still has a content encoding.
func (r *Redactor) Withholds(where string, list *List) bool {
	if len(r.patterns) > 0 {
		list.add(where)
	}
	return len(r.patterns) > 0
}

// markBody marks what is secret in a body, and reports whether anything is.
func (r *Redactor) markBody(body []byte, cut bool, where string, list *List) bool {
	r.spans.reset()
	r.userinfo(body, cut)
	r.patternSpans(body, maxBody, cut)
	if bytes.IndexByte(body, '\\') >= 0 {
		r.escaped(body[:min(len(body), maxBody)], cut || len(body) > maxBody)
	}
	if r.spans.any() {
		list.add(where)
	}
	return r.spans.any()
}

// escaped marks what is secret in a body whose escapes are resolved, as whoever reads the
// JSON does. It reads escaped quotes in two ways: as quotes, and as something that does not
// end a string.
func (r *Redactor) escaped(body []byte, cut bool) {
	partial := 0
	if cut {
		partial = partialEscape(body)
		body = body[:len(body)-partial]
	}
	for _, quote := range [...]byte{'"', '\''} {
		if !r.plain.unescape(body, quote) && partial == 0 {
			return
		}
		for i := range r.patterns {
			r.patterns[i].mark(&r.spans, r.plain, cut)
		}
		r.userinfoIn(r.plain, cut)
	}
}

// partialEscape is the length of what may be the beginning of an escape, at the end of a text.
func partialEscape(text []byte) int {
	const longest = len(`\u0000`)
	end := text[max(0, len(text)-longest+1):]
	if i := bytes.LastIndexByte(end, '\\'); i >= 0 {
		if _, n := unescape(end[i:], '"'); n == 1 {
			return len(end) - i
		}
	}
	return 0
}

// unescape makes v a text without the escapes of JSON, and reports whether they differ.
func (v *view) unescape(text []byte, quote byte) bool {
	v.bytes, v.at = v.bytes[:0], v.at[:0]
	for i := 0; i < len(text); {
		c, n := rune(text[i]), 1
		if text[i] == '\\' {
			c, n = unescape(text[i:], quote)
		}
		begin := len(v.bytes)
		if n == 1 {
			v.bytes = append(v.bytes, text[i])
		} else {
			v.bytes = utf8.AppendRune(v.bytes, c)
		}
		for range len(v.bytes) - begin {
			v.at = append(v.at, i)
		}
		i += n
	}
	v.at = append(v.at, len(text))
	return len(v.bytes) < len(text)
}

// unescape resolves the escape that a text begins with. n is its length, or 1 if it is none.
func unescape(text []byte, quote byte) (c rune, n int) {
	if len(text) < 2 {
		return '\\', 1
	}
	switch text[1] {
	case '"':
		return rune(quote), 2
	case '\\', '/':
		return rune(text[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		if c = unit(text); c < 0 {
			return '\\', 1
		}
		if pair := utf16.DecodeRune(c, unit(text[6:])); pair != utf8.RuneError {
			return pair, 12
		}
		if c == '"' {
			c = rune(quote)
		}
		return c, 6
	default:
		return '\\', 1
	}
}

// unit is the UTF-16 unit of the escape that a text begins with; -1 without one.
func unit(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	var c rune
	for _, digit := range text[2:6] {
		value := unhex(digit)
		if value < 0 {
			return -1
		}
		c = c<<4 | rune(value)
	}
	return c
}

// writeJSON appends a JSON text with its spans replaced inside of its tokens. Where it ends
// to be JSON, it is text like any other.
func (s *spans) writeJSON(dst, text []byte) []byte {
	s.merge()
	var scan jsonscan.Scanner
	scan.Reset(text, jsonscan.MaxDepth)
	at, next := 0, 0
	for {
		kind, err := scan.Next()
		if err != nil {
			return s.rest(dst, text, at)
		}
		from, to := scan.Offset(), scan.Offset()+len(scan.Text())
		quoted := false
		switch kind {
		case jsonscan.End:
			return append(dst, text[at:]...)
		case jsonscan.Name, jsonscan.String:
			from, to, quoted = from+1, to+1, true
		case jsonscan.Number, jsonscan.True, jsonscan.False, jsonscan.Null:
		default:
			continue
		}
		for next < len(s.all) && s.all[next].to <= from {
			next++
		}
		if next == len(s.all) || s.all[next].from >= to {
			continue
		}
		dst = append(dst, text[at:from]...)
		if quoted {
			dst = s.writeString(dst, text, from, to, next)
		} else {
			dst = append(append(append(dst, '"'), Redacted...), '"')
		}
		at = to
	}
}

// writeString appends what is between two quotes. An escape is hidden as a whole. next is
// the first span that may be there.
func (s *spans) writeString(dst, text []byte, from, to, next int) []byte {
	hidden := false
	for at := from; at < to; {
		n := 1
		if text[at] == '\\' {
			_, n = unescape(text[at:to], '"')
		}
		for next < len(s.all) && s.all[next].to <= at {
			next++
		}
		hide := next < len(s.all) && s.all[next].from < at+n
		switch {
		case !hide:
			dst = append(dst, text[at:at+n]...)
		case !hidden:
			dst = append(dst, Redacted...)
		}
		hidden = hide
		at += n
	}
	return dst
}
