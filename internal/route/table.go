// SPDX-License-Identifier: Apache-2.0

package route

import (
	"bytes"
	"fmt"
)

// maxPatterns bounds a table: each new pattern is compared with all others.
const maxPatterns = 2000

// Table finds the pattern of a path. The zero value has none. It may be used by several
// goroutines once all patterns are added.
type Table struct {
	patterns []*pattern
	// methods has the patterns with a method, any those without.
	methods map[string]*node
	any     node
}

// node is where patterns with the same beginning part.
type node struct {
	literals map[string]*node
	single   *node
	// here is the route of a path that ends without a slash, end that of one that ends with
	// it, multi that of any other.
	here, end, multi string
}

// Add adds a pattern. If several match a path, the more specific one wins. Patterns of which
// neither is more specific are refused.
func (t *Table) Add(text string) error {
	p, err := parse(text)
	if err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	if len(t.patterns) == maxPatterns {
		return fmt.Errorf("more than %d patterns are too many", maxPatterns)
	}
	for _, other := range t.patterns {
		if conflict(p, other) {
			return fmt.Errorf("%q conflicts with %q: some paths match both, and neither is more specific", text, other.text)
		}
	}
	t.patterns = append(t.patterns, p)
	root := &t.any
	if p.method != "" {
		if t.methods == nil {
			t.methods = map[string]*node{}
		}
		if root = t.methods[p.method]; root == nil {
			root = &node{}
			t.methods[p.method] = root
		}
	}
	root.add(p)
	return nil
}

// Empty reports whether there are no patterns.
func (t *Table) Empty() bool { return len(t.patterns) == 0 }

func (n *node) add(p *pattern) {
	for _, s := range p.segments {
		switch s.kind {
		case literal:
			next := n.literals[s.text]
			if next == nil {
				next = &node{}
				if n.literals == nil {
					n.literals = map[string]*node{}
				}
				n.literals[s.text] = next
			}
			n = next
		case single:
			if n.single == nil {
				n.single = &node{}
			}
			n = n.single
		case multi:
			n.multi = p.route
			return
		case end:
			n.end = p.route
			return
		}
	}
	n.here = p.route
}

// Find returns the route of a path, or "". The path is as it was sent. A pattern for GET
// matches HEAD, too.
func (t *Table) Find(method, path []byte) string {
	if len(path) == 0 || path[0] != '/' {
		return ""
	}
	if route := t.methods[string(method)].find(path); route != "" {
		return route
	}
	if string(method) == "HEAD" {
		if route := t.methods["GET"].find(path); route != "" {
			return route
		}
	}
	return t.any.find(path)
}

// find tries the most specific way first. Each node is tried at most once.
func (n *node) find(path []byte) string {
	if n == nil {
		return ""
	}
	if len(path) == 0 {
		return n.here
	}
	if len(path) == 1 && n.end != "" {
		return n.end
	}
	if len(path) > 1 {
		first, rest := cut(path)
		if route := n.literal(first).find(rest); route != "" {
			return route
		}
		if route := n.single.find(rest); route != "" {
			return route
		}
	}
	return n.multi
}

// cut cuts the first segment off a path that begins with a slash.
func cut(path []byte) (first, rest []byte) {
	path = path[1:]
	if i := bytes.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, nil
}

// literal returns the node of a segment, which can have escapes.
func (n *node) literal(s []byte) *node {
	if bytes.IndexByte(s, '%') < 0 {
		return n.literals[string(s)]
	}
	var plain [maxLiteral]byte
	at := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return nil
			}
			high, low := digit(s[i+1]), digit(s[i+2])
			if high > 15 || low > 15 {
				return nil
			}
			c = high<<4 | low
			i += 2
		}
		if at == len(plain) {
			return nil
		}
		plain[at] = c
		at++
	}
	return n.literals[string(plain[:at])]
}

// digit is the value of a hexadecimal digit; 255 if c is none.
func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	default:
		return 255
	}
}
