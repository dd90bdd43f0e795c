// SPDX-License-Identifier: Apache-2.0

// Package literal searches texts for many strings at once (Aho and Corasick 1975), in a time that
// does not depend on how many there are. ASCII letters match in either case.
package literal

import (
	"errors"
	"fmt"
)

// Bounds of a set.
const (
	MaxLiterals = 16384
	MaxLength   = 1024
	// maxCells bounds the table of transitions to 16 MiB.
	maxCells = 4 << 20
)

// Literal is a string with a name.
type Literal struct{ Name, Text string }

// Set is an automaton. It is not changed, and searches can run at the same time.
type Set struct {
	names []string
	// class of each byte; bytes that no string has are of class 0.
	class   [256]uint8
	classes int
	// next has a row of classes for each state.
	next []int32
	// match is the literal that ends in a state, shorter the next state where one ends that is a
	// suffix of it; -1 without.
	match, shorter []int32
}

// ErrLarge is why a set is not made.
var ErrLarge = errors.New("the strings are too many or too long")

// New makes a set. Of two equal strings the first counts.
func New(literals []Literal) (*Set, error) {
	if len(literals) > MaxLiterals {
		return nil, fmt.Errorf("%d strings, more than %d: %w", len(literals), MaxLiterals, ErrLarge)
	}
	s := &Set{classes: 1}
	length := 1
	for _, l := range literals {
		if len(l.Text) == 0 || len(l.Text) > MaxLength {
			return nil, fmt.Errorf("%s: a string of %d bytes, not of 1 to %d", l.Name, len(l.Text), MaxLength)
		}
		s.names = append(s.names, l.Name)
		length += len(l.Text)
		s.classify(l.Text)
	}
	if length*s.classes > maxCells {
		return nil, fmt.Errorf("%d bytes with %d different ones: %w", length, s.classes-1, ErrLarge)
	}
	s.state()
	for i, l := range literals {
		s.insert(int32(i), l.Text)
	}
	s.link()
	return s, nil
}

// Len is the number of strings.
func (s *Set) Len() int { return len(s.names) }

// Name of a string.
func (s *Set) Name(i int32) string { return s.names[i] }

func fold(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// classify gives each byte of a text a class. Upper-case letters have those of lower-case ones, so
// that all classes fit into a byte.
func (s *Set) classify(text string) {
	for i := range len(text) {
		if b := fold(text[i]); s.class[b] == 0 {
			s.class[b] = uint8(s.classes)
			if 'a' <= b && b <= 'z' {
				s.class[b-'a'+'A'] = uint8(s.classes)
			}
			s.classes++
		}
	}
}

func (s *Set) state() int32 {
	s.next = append(s.next, make([]int32, s.classes)...)
	s.match, s.shorter = append(s.match, -1), append(s.shorter, -1)
	return int32(len(s.match) - 1)
}

func (s *Set) insert(literal int32, text string) {
	at := int32(0)
	for i := range len(text) {
		cell := int(at)*s.classes + int(s.class[text[i]])
		if s.next[cell] == 0 {
			to := s.state() // moves the table
			s.next[cell] = to
		}
		at = s.next[cell]
	}
	if s.match[at] < 0 {
		s.match[at] = literal
	}
}

// link fills in, state by state in the order of their depth, where each byte leads that continues
// no string: to the longest suffix that begins one.
func (s *Set) link() {
	fail := make([]int32, len(s.match))
	queue := make([]int32, 0, len(s.match))
	for class := range s.classes {
		if to := s.next[class]; to != 0 {
			queue = append(queue, to)
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if s.match[fail[at]] >= 0 {
			s.shorter[at] = fail[at]
		} else {
			s.shorter[at] = s.shorter[fail[at]]
		}
		for class := range s.classes {
			cell, elsewhere := int(at)*s.classes+class, s.next[int(fail[at])*s.classes+class]
			if to := s.next[cell]; to != 0 {
				fail[to] = elsewhere
				queue = append(queue, to)
			} else {
				s.next[cell] = elsewhere
			}
		}
	}
}
