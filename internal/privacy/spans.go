// SPDX-License-Identifier: Apache-2.0

package privacy

import (
	"cmp"
	"slices"
)

// span is a part of a text that becomes REDACTED.
type span struct{ from, to int }

// spans collects them. They may overlap: a pattern must see the text as it was, not what
// another one left of it.
type spans struct{ all []span }

func (s *spans) reset()    { s.all = s.all[:0] }
func (s *spans) any() bool { return len(s.all) > 0 }
func (s *spans) len() int  { return len(s.all) }

func (s *spans) add(from, to int) {
	if from < to {
		s.all = append(s.all, span{from, to})
	}
}

// touches reports whether a part of the text overlaps a span.
func (s *spans) touches(from, to int) bool {
	for _, one := range s.all {
		if one.from < to && from < one.to {
			return true
		}
	}
	return false
}

// write appends the text with its spans replaced.
func (s *spans) write(dst, text []byte) []byte {
	s.merge()
	return s.rest(dst, text, 0)
}

// merge sorts the spans, and makes one of those that overlap or touch.
func (s *spans) merge() {
	if len(s.all) < 2 {
		return
	}
	slices.SortFunc(s.all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	last := 0
	for _, one := range s.all[1:] {
		if one.from <= s.all[last].to {
			s.all[last].to = max(s.all[last].to, one.to)
			continue
		}
		last++
		s.all[last] = one
	}
	s.all = s.all[:last+1]
}

// rest appends the text from a place on. The spans are merged.
func (s *spans) rest(dst, text []byte, at int) []byte {
	for _, one := range s.all {
		if one.to <= at {
			continue
		}
		dst = append(append(dst, text[at:max(at, one.from)]...), Redacted...)
		at = one.to
	}
	return append(dst, text[at:]...)
}

// view is a text, or what percent-decoding made of it. at are the places in the text where
// its bytes begin, with one more for the end; nil for the text itself.
type view struct {
	bytes []byte
	at    []int
}

func (v *view) place(i int) int {
	if v.at == nil {
		return i
	}
	return v.at[i]
}

// decode makes v the percent-decoded form of another view, and reports whether they differ.
// Malformed encoding stays as it is.
func (v *view) decode(from view) bool {
	v.bytes, v.at = v.bytes[:0], v.at[:0]
	differs := false
	for i := 0; i < len(from.bytes); i++ {
		c := from.bytes[i]
		v.at = append(v.at, from.place(i))
		if c == '%' && i+2 < len(from.bytes) {
			if high, low := unhex(from.bytes[i+1]), unhex(from.bytes[i+2]); high >= 0 && low >= 0 {
				c = byte(high<<4 | low)
				i += 2
				differs = true
			}
		}
		v.bytes = append(v.bytes, c)
	}
	v.at = append(v.at, from.place(len(from.bytes)))
	return differs
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c - 'a' + 10)
	case 'A' <= c && c <= 'F':
		return int(c - 'A' + 10)
	default:
		return -1
	}
}
