// SPDX-License-Identifier: Apache-2.0

// Package privacy decides which bytes of a request may leave the process. It replaces
// secrets by REDACTED and lists where it did. Where a message can be read in two ways, it
// takes the one that shows less.
package privacy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// Redacted replaces a secret, as the semantic conventions say.
const Redacted = "REDACTED"

// Bounds of what patterns read. What is behind them becomes REDACTED, unseen.
const (
	maxText = 64 << 10
	maxBody = 1 << 20
)

// Options is what the user permits, and what else is secret.
type Options struct {
	// AllowHeaders are names of header fields whose values stay, of any case.
	AllowHeaders []string
	// AllowQuery are keys of query parameters whose values stay. "*" is every key but those
	// of signatures.
	AllowQuery []string
	// Patterns are regular expressions (RE2). A match becomes REDACTED, or its first group.
	Patterns []string
}

// Redactor redacts. It is not safe for concurrent use.
type Redactor struct {
	allowHeaders map[string]struct{}
	allowQuery   map[string]struct{}
	allowAll     bool
	patterns     []pattern

	spans spans
	views [2]view
	// plain is a body without the escapes of JSON.
	plain view
	key   []byte
	names map[string]string
}

// New compiles the options. Errors begin with the name of the option, in lower case with
// underscores.
func New(o Options) (*Redactor, error) {
	r := &Redactor{
		allowHeaders: make(map[string]struct{}, len(o.AllowHeaders)),
		allowQuery:   make(map[string]struct{}, len(o.AllowQuery)),
		names:        make(map[string]string),
	}
	var errs []error
	for i, name := range o.AllowHeaders {
		if !isToken(name) {
			errs = append(errs, fmt.Errorf("allow_headers: entry %d, %q, is no name of a header field", i, name))
		}
		r.allowHeaders[strings.ToLower(name)] = struct{}{}
	}
	for i, key := range o.AllowQuery {
		switch {
		case key == "":
			errs = append(errs, fmt.Errorf("allow_query: entry %d is empty", i))
		case key == "*":
			r.allowAll = true
		case isSignature([]byte(key)):
			errs = append(errs, fmt.Errorf("allow_query: entry %d, %q, is the key of a signature, which is always redacted", i, key))
		}
		r.allowQuery[key] = struct{}{}
	}
	var err error
	if r.patterns, err = compilePatterns(o.Patterns); err != nil {
		errs = append(errs, err)
	}
	return r, errors.Join(errs...)
}

// Path appends a request's path, as Split returns it. cut is set if its end is missing.
func (r *Redactor) Path(dst, path []byte, cut bool, list *List) []byte {
	r.spans.reset()
	if len(path) > 0 && path[0] != '/' {
		r.authoritySpans(path, 0)
	}
	r.userinfo(path, cut)
	if r.spans.any() {
		list.add("userinfo")
	}
	before := r.spans.len()
	r.sessionSpans(path)
	for i, c := range path {
		if c == '#' {
			r.querySpans(path, i+1, len(path), false, nil)
			break
		}
	}
	r.patternSpans(path, maxText, cut)
	if r.spans.len() > before {
		list.add("path")
	}
	return r.spans.write(dst, path)
}

// Query appends a query: keys stay, values become REDACTED unless allowed. A key without a
// value may be the secret itself, so it is treated as a value. cut is set if the end is
// missing.
func (r *Redactor) Query(dst, query []byte, cut bool, list *List) []byte {
	r.spans.reset()
	// Marks of patterns come first, so that secret keys are not listed.
	r.userinfo(query, cut)
	r.patternSpans(query, maxText, cut)
	if r.spans.any() {
		list.add("query")
	}
	r.querySpans(query, 0, len(query), false, list)
	return r.spans.write(dst, query)
}

// Header appends the value of a header field.
func (r *Redactor) Header(dst, name, value []byte, list *List) []byte {
	kind := classify(name)
	allowed := r.allowsHeader(name)
	if kind == fieldSecret && !allowed {
		if len(value) == 0 {
			return dst
		}
		list.addName(r, "header.", name)
		return append(dst, Redacted...)
	}
	r.spans.reset()
	if kind == fieldAuthority {
		r.authoritySpans(value, 0)
	}
	r.userinfo(value, false)
	r.urlSpans(value, kind == fieldURL, allowed)
	r.patternSpans(value, maxText, false)
	if r.spans.any() {
		list.addName(r, "header.", name)
	}
	return r.spans.write(dst, value)
}

// Text appends any other text from outside, such as an unknown method. where is listed if
// something was redacted.
func (r *Redactor) Text(dst, text []byte, cut bool, where string, list *List) []byte {
	r.spans.reset()
	r.userinfo(text, cut)
	r.patternSpans(text, maxText, cut)
	if r.spans.any() {
		list.add(where)
	}
	return r.spans.write(dst, text)
}

func (r *Redactor) allowsHeader(name []byte) bool {
	if len(r.allowHeaders) == 0 || len(name) > maxName {
		return false
	}
	var lower [maxName]byte
	_, allowed := r.allowHeaders[string(toLower(lower[:0], name))]
	return allowed
}

// headerKind says how a field's value is read.
type headerKind uint8

const (
	fieldPlain headerKind = iota
	fieldSecret
	fieldURL
	fieldAuthority
)

// classify knows fields by their names. Beside the five that every user expects, there are
// other names of keys and tokens that gateways and model servers use.
func classify(name []byte) headerKind {
	var buffer [len("x-amz-security-token")]byte
	if len(name) <= len(buffer) {
		switch string(toLower(buffer[:0], name)) {
		case "authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key",
			"api-key", "apikey", "x-goog-api-key", "x-auth-token", "x-access-token",
			"x-amz-security-token", "x-csrf-token", "x-xsrf-token", "cookie2", "set-cookie2":
			return fieldSecret
		case "referer", "location", "content-location", "origin", "link", "refresh", "destination", "sourcemap":
			return fieldURL
		case "host":
			return fieldAuthority
		}
	}
	switch {
	case hasSuffix(name, "-authorization"):
		return fieldSecret
	case hasSuffix(name, "-url"), hasSuffix(name, "-uri"), hasSuffix(name, "-path"), hasSuffix(name, "-redirect"):
		return fieldURL
	case hasSuffix(name, "-host"):
		return fieldAuthority
	default:
		return fieldPlain
	}
}

func hasSuffix(name []byte, lower string) bool {
	return len(name) >= len(lower) && request.EqualFold(name[len(name)-len(lower):], lower)
}

// maxName is the length up to which names of fields are looked up.
const maxName = 128

func toLower(dst, s []byte) []byte {
	for _, c := range s {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// isToken reports whether s can be the name of a header field.
func isToken[T string | []byte](s T) bool {
	if len(s) == 0 || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < '!' || c > '~' || separator[c-'!'] {
			return false
		}
	}
	return true
}

// separator has a mark for each character from ! to ~ that ends a token.
var separator = func() (set ['~' - '!' + 1]bool) {
	for _, c := range `"(),/:;<=>?@[\]{}` {
		set[c-'!'] = true
	}
	return set
}()
