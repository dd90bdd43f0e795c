// SPDX-License-Identifier: Apache-2.0

package forwarded

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// elements parses those of Forwarded (RFC 7239). It remembers the scheme of the last one.
type elements struct {
	scheme string
}

// parse reads one element: for=192.0.2.60;proto=http;by=203.0.113.43.
func (e *elements) parse(element []byte) (node, state) {
	var found node
	result := malformed // until there is a for=
	seenFor, seenProto := false, false
	scheme := ""
	for len(element) > 0 {
		var pair []byte
		pair, element = cutPair(element)
		pair = bytes.Trim(pair, " \t")
		if len(pair) == 0 {
			continue
		}
		name, value, ok := bytes.Cut(pair, []byte{'='})
		if !ok || len(name) == 0 {
			return node{}, malformed
		}
		switch {
		case equalFold(name, "for"):
			if seenFor {
				return node{}, malformed
			}
			seenFor = true
			found, result = parseNode(value)
		case equalFold(name, "proto"):
			if seenProto {
				return node{}, malformed
			}
			seenProto = true
			scheme = parseScheme(value)
		}
	}
	if result == known {
		e.scheme = scheme
	}
	return found, result
}

// cutPair cuts an element behind its first pair. A semicolon within quotes does not separate.
func cutPair(s []byte) (pair, rest []byte) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case ';':
			if !quoted {
				return s[:i], s[i+1:]
			}
		}
	}
	return s, nil
}

// scheme reads X-Forwarded-Proto. A list with as many elements as X-Forwarded-For has one for
// each hop: walked says which. Otherwise only the right end is from a trusted proxy.
func (c *Client) scheme(fields []request.Field, walked int) {
	hops := count(list{fields: fields, name: "x-forwarded-for"})
	protocols := list{fields: fields, name: "x-forwarded-proto"}
	at := 1
	if n := count(protocols); n > 1 && n == hops && walked > 0 {
		at = walked
	}
	elements := protocols.backward()
	for ; at > 1; at-- {
		elements.next()
	}
	if value, found := elements.next(); found {
		c.Scheme = parseScheme(value)
		if c.Scheme == "" && c.Fault == None {
			c.Fault = Malformed
		}
	}
}

// count counts the elements of a list, as far as they are read.
func count(l list) int {
	n := 0
	for elements := l.backward(); n <= maxHops; n++ {
		if _, found := elements.next(); !found {
			break
		}
	}
	return n
}

// parseScheme knows the schemes that HTTP carries; "" for others.
func parseScheme(s []byte) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	switch {
	case equalFold(s, "https"), equalFold(s, "wss"):
		return "https"
	case equalFold(s, "http"), equalFold(s, "ws"):
		return "http"
	default:
		return ""
	}
}
