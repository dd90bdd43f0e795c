// SPDX-License-Identifier: Apache-2.0

// Package route finds the route templates of paths: by patterns that a user gives, or learned
// from the paths that servers answer.
package route

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Bounds of a pattern.
const (
	maxPattern  = 1024
	maxSegments = 32
	maxLiteral  = 128
)

// kind is that of a segment.
type kind uint8

const (
	literal kind = iota
	// single is {name}, any one segment.
	single
	// multi is {name...}, or a final slash: all that follows.
	multi
	// end is {$}: the path ends with this slash.
	end
)

type segment struct {
	kind kind
	// text is that of a literal, without escapes.
	text string
}

// pattern is like one of http.ServeMux: /users/{id}, with a method in front or without.
type pattern struct {
	text     string
	method   string
	route    string
	segments []segment
}

func parse(text string) (*pattern, error) {
	p := &pattern{text: text, route: text}
	if len(text) > maxPattern {
		return nil, fmt.Errorf("a pattern of %d bytes is too long, allowed are %d", len(text), maxPattern)
	}
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		p.method, p.route = text[:i], strings.TrimLeft(text[i+1:], " \t")
		if !isMethod(p.method) {
			return nil, fmt.Errorf("%q is no method", p.method)
		}
	}
	switch {
	case p.route == "":
		return nil, errors.New("a path is missing")
	case p.route[0] != '/':
		return nil, errors.New("the path does not begin with a slash, and hosts are not matched")
	case strings.ContainsFunc(p.route, func(r rune) bool { return r <= ' ' || r > '~' || r == '?' || r == '#' }):
		return nil, errors.New("a path has printable ASCII without spaces, ? and #; write others as %XX")
	}
	names := map[string]bool{}
	for _, part := range strings.Split(p.route[1:], "/") {
		s, err := parseSegment(part, names)
		if err != nil {
			return nil, err
		}
		if last := len(p.segments) - 1; last >= 0 && p.segments[last].kind != literal && p.segments[last].kind != single {
			return nil, errors.New("only the last segment can be {…}, {$} or empty")
		}
		p.segments = append(p.segments, s)
	}
	if len(p.segments) > maxSegments {
		return nil, fmt.Errorf("%d segments are too many, allowed are %d", len(p.segments), maxSegments)
	}
	if p.last().kind == end {
		p.route = strings.TrimSuffix(p.route, "{$}")
	}
	return p, nil
}

func (p *pattern) last() segment { return p.segments[len(p.segments)-1] }

func parseSegment(part string, names map[string]bool) (segment, error) {
	if part == "" {
		return segment{kind: multi}, nil
	}
	if part[0] != '{' {
		if strings.ContainsAny(part, "{}") {
			return segment{}, fmt.Errorf("%q: a placeholder is a whole segment", part)
		}
		text, err := url.PathUnescape(part)
		if err != nil {
			return segment{}, err
		}
		if len(text) > maxLiteral {
			return segment{}, fmt.Errorf("a segment of %d bytes is too long, allowed are %d", len(text), maxLiteral)
		}
		return segment{kind: literal, text: text}, nil
	}
	if part == "{$}" {
		return segment{kind: end}, nil
	}
	if part[len(part)-1] != '}' {
		return segment{}, fmt.Errorf("%q: a placeholder is a whole segment", part)
	}
	name, all := strings.CutSuffix(part[1:len(part)-1], "...")
	switch {
	case !isName(name):
		return segment{}, fmt.Errorf("%q: a name has letters, digits and _, and does not begin with a digit", part)
	case names[name]:
		return segment{}, fmt.Errorf("the name %q is there twice", name)
	}
	names[name] = true
	if all {
		return segment{kind: multi}, nil
	}
	return segment{kind: single}, nil
}

func isName(name string) bool {
	for i, c := range name {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

func isMethod(method string) bool {
	for _, c := range method {
		if c <= ' ' || c > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", c) {
			return false
		}
	}
	return method != ""
}

// relation says how the paths that two patterns match lie to each other.
type relation uint8

const (
	equal relation = 0
	// specific: the first matches less. general: the first matches more. Both: they overlap.
	specific relation = 1
	general  relation = 2
	overlaps          = specific | general
	disjoint relation = 4
)

// conflict reports whether some path matches both patterns, and neither is more specific.
func conflict(a, b *pattern) bool {
	r := compareMethods(a.method, b.method) | comparePaths(a, b)
	return r&disjoint == 0 && (r == equal || r == overlaps)
}

func compareMethods(a, b string) relation {
	switch {
	case a == b:
		return equal
	case a == "" || a == "GET" && b == "HEAD":
		return general
	case b == "" || a == "HEAD" && b == "GET":
		return specific
	default:
		return disjoint
	}
}

func comparePaths(a, b *pattern) relation {
	r := equal
	shorter := min(len(a.segments), len(b.segments))
	for i := range shorter {
		r |= compareSegments(a.segments[i], b.segments[i])
	}
	switch {
	case len(a.segments) == len(b.segments):
		return r
	case a.segments[shorter-1].kind == multi && len(a.segments) == shorter:
		return r | general
	case b.segments[shorter-1].kind == multi && len(b.segments) == shorter:
		return r | specific
	default:
		return disjoint
	}
}

func compareSegments(a, b segment) relation {
	switch {
	case a == b:
		return equal
	case a.kind == multi:
		return general
	case b.kind == multi:
		return specific
	case a.kind == single && b.kind == literal:
		return general
	case a.kind == literal && b.kind == single:
		return specific
	default: // different literals, or an end and something else
		return disjoint
	}
}
