// SPDX-License-Identifier: Apache-2.0

// Package lifted remembers entries of lists while their list has them: those that a person has lifted,
// so that they stay away, and those that were told to be allowed, so that it is told once.
package lifted

import (
	"net/netip"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
)

// most entries are remembered. Others come back when their list changes.
const most = 10_000

type entry struct {
	origin blocks.Origin
	key    netip.Prefix
}

// Set belongs to one goroutine at a time. Its zero value is empty.
type Set struct{ of map[entry]struct{} }

// Add takes what a person has lifted. Only entries of lists are remembered.
func (s *Set) Add(d *blocks.Decision) {
	if d.Outcome != blocks.Ended || !d.Block.Origin.IsList() || len(s.of) >= most {
		return
	}
	if s.of == nil {
		s.of = make(map[entry]struct{})
	}
	s.of[entry{d.Block.Origin, d.Key}] = struct{}{}
}

// Note takes an entry of a list, and reports whether it is new.
func (s *Set) Note(origin blocks.Origin, key netip.Prefix) bool {
	if s.Has(origin, key) {
		return false
	}
	if s.of == nil {
		s.of = make(map[entry]struct{})
	}
	if len(s.of) < most {
		s.of[entry{origin, key}] = struct{}{}
	}
	return true
}

// Has tells whether an origin's entry is to stay away.
func (s *Set) Has(origin blocks.Origin, key netip.Prefix) bool {
	_, has := s.of[entry{origin, key}]
	return has
}

// Len is how many entries are remembered.
func (s *Set) Len() int { return len(s.of) }

// Forget lets an entry count again.
func (s *Set) Forget(origin blocks.Origin, key netip.Prefix) { delete(s.of, entry{origin, key}) }

// Keep forgets the entries of an origin that it does not list any more.
func (s *Set) Keep(origin blocks.Origin, listed map[netip.Prefix]bool) {
	for e := range s.of {
		if e.origin == origin && !listed[e.key] {
			delete(s.of, e)
		}
	}
}
