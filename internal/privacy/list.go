// SPDX-License-Identifier: Apache-2.0

package privacy

import "slices"

// Bounds of what is listed and remembered.
const (
	maxListed   = 32
	maxInterned = 1024
	// maxListedKey is the longest key of a query that is listed by name.
	maxListedKey = 64
)

// List names what was redacted in one request: header.authorization, query.token, path,
// userinfo, body.request. It has no secrets, and each name once.
type List struct {
	names []string
	more  int
}

// Reset empties the list, and keeps its memory.
func (l *List) Reset() { l.names, l.more = l.names[:0], 0 }

// Names are valid until Reset.
func (l *List) Names() []string { return l.names }

// More is the number of redactions that did not fit.
func (l *List) More() int { return l.more }

func (l *List) add(name string) {
	switch {
	case l == nil || slices.Contains(l.names, name):
	case len(l.names) == maxListed:
		l.more++
	default:
		l.names = append(l.names, name)
	}
}

// addName adds a name from outside, in lower case if it is a header field's.
func (l *List) addName(r *Redactor, kind string, name []byte) {
	if l == nil {
		return
	}
	var buffer [len("header.") + maxName]byte
	full := append(buffer[:0], kind...)
	if len(name) > maxListedKey || !isToken(name) {
		l.add(kind[:len(kind)-1])
		return
	}
	if kind == "header." {
		full = toLower(full, name)
	} else {
		full = append(full, name...)
	}
	interned, found := r.names[string(full)]
	if !found {
		interned = string(full)
		if len(r.names) < maxInterned {
			r.names[interned] = interned
		}
	}
	l.add(interned)
}
