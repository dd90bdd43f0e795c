// SPDX-License-Identifier: Apache-2.0

package privacy

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// depth is how often percent-encoding is undone to look for secrets.
const depth = 2

// decoded calls look with a text and what it is when decoded once and twice, if it differs.
func (r *Redactor) decoded(text []byte, look func(view)) {
	current := view{bytes: text}
	look(current)
	for i := range depth {
		if bytes.IndexByte(current.bytes, '%') < 0 || !r.views[i].decode(current) {
			return
		}
		current = r.views[i]
		look(current)
	}
}

// userinfo marks names and passwords in URLs anywhere in a text.
func (r *Redactor) userinfo(text []byte, cut bool) {
	if bytes.IndexByte(text, '/') < 0 && bytes.IndexByte(text, '%') < 0 && bytes.IndexByte(text, '\\') < 0 {
		return
	}
	r.decoded(text, func(v view) { r.userinfoIn(v, cut) })
}

func (r *Redactor) userinfoIn(v view, cut bool) {
	for i := 1; i < len(v.bytes); i++ {
		// Two slashes begin an authority. Some readers take backslashes, too.
		if !isSlash(v.bytes[i]) || !isSlash(v.bytes[i-1]) {
			continue
		}
		r.authorityIn(v, i+1, cut)
	}
}

func isSlash(c byte) bool { return c == '/' || c == '\\' }

// authorityIn marks the userinfo of the authority at a place.
func (r *Redactor) authorityIn(v view, from int, cut bool) {
	rest := v.bytes[from:]
	end, at := len(rest), -1
scan:
	for i, c := range rest {
		switch c {
		case '@':
			at = i
		case '/', '\\', '?', '#', ' ', '\t', '\r', '\n', '"', '<', '>':
			end = i
			break scan
		}
	}
	switch {
	case cut && end == len(rest):
		// What is missing may have an @.
		r.spans.add(v.place(from), v.place(from+end))
		return
	case at >= 0:
	case end == len(rest):
		return
	default:
		if at = lateAt(rest, end); at < 0 {
			return
		}
	}
	user, password := at, at
	if colon := bytes.IndexByte(rest[:at], ':'); colon >= 0 {
		user, password = colon, colon+1
	}
	r.spans.add(v.place(from), v.place(from+user))
	r.spans.add(v.place(from+password), v.place(from+at))
}

// maxAuthority bounds how far an @ is searched for.
const maxAuthority = 512

// lateAt finds the @ of a password that has a slash or question mark in it, which is not
// permitted and happens. Then what looks like a port is none.
func lateAt(rest []byte, end int) int {
	colon := bytes.IndexByte(rest[:end], ':')
	if colon < 0 || end > 0 && rest[0] == '[' {
		return -1
	}
	port := true
	for _, c := range rest[colon+1 : end] {
		port = port && '0' <= c && c <= '9'
	}
	if port {
		return -1
	}
	rest = rest[:min(len(rest), maxAuthority)]
	if stop := bytes.IndexAny(rest, " \t\r\n\"<>"); stop >= 0 {
		rest = rest[:stop]
	}
	return bytes.LastIndexByte(rest, '@')
}

// authoritySpans marks the userinfo of a text that begins with an authority.
func (r *Redactor) authoritySpans(text []byte, from int) {
	r.decoded(text[from:], func(v view) { r.authorityIn(v, 0, false) })
}

// sessionSpans marks what servlet containers put into a path when a client refuses cookies.
func (r *Redactor) sessionSpans(path []byte) {
	const name = "jsessionid="
	for i := 0; i < len(path); i++ {
		value := i + 1 + len(name)
		if path[i] != ';' || value > len(path) || !request.EqualFold(path[i+1:value], name) {
			continue
		}
		end := len(path)
		if n := bytes.IndexAny(path[value:], ";/?#"); n >= 0 {
			end = value + n
		}
		r.spans.add(value, end)
	}
}

// urlSpans marks queries and fragments of URLs in a field's value. whole says that each word
// of it is a URL, also without scheme.
func (r *Redactor) urlSpans(value []byte, whole, allowed bool) {
	if bytes.IndexByte(value, '?') < 0 && bytes.IndexByte(value, '#') < 0 {
		return
	}
	for from := 0; from < len(value); {
		end := len(value)
		if n := bytes.IndexAny(value[from:], " \t\"<>"); n >= 0 {
			end = from + n
		}
		if word := value[from:end]; whole || bytes.Contains(word, []byte("://")) {
			if n := bytes.IndexAny(word, "?#"); n >= 0 {
				r.querySpans(value, from+n+1, end, allowed, nil)
			}
		}
		from = end + 1
	}
}
