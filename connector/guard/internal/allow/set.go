// SPDX-License-Identifier: Apache-2.0

package allow

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// MaxEntries is how many entries one source of a set may have.
const MaxEntries = 100_000

// Set is what is allowed now. Lookups may run while sources change.
type Set struct {
	current atomic.Pointer[List]
	mu      sync.Mutex
	order   []string
	sources map[string][]Entry
}

// NewSet makes a set with what every host allows: loopback and link-local addresses.
func NewSet() *Set {
	s := &Set{sources: map[string][]Entry{}}
	s.current.Store(New(nil))
	_, _ = s.Update("always", Always())
	return s
}

// Current is the list of this moment.
func (s *Set) Current() *List { return s.current.Load() }

// Update replaces what a source allows, and reports whether that changed the list. A source that
// could not be read must not be updated: what it allowed last stays. So it stays if the source
// now has too many entries.
func (s *Set) Update(source string, entries []Entry) (bool, error) {
	if len(entries) > MaxEntries {
		return false, fmt.Errorf("allow %d entries of %s: at most %d are possible, so the previous ones stay", len(entries), source, MaxEntries)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.sources[source]; !known {
		s.order = append(s.order, source)
	}
	s.sources[source] = entries
	all := make([]Entry, 0, s.current.Load().Len()+len(entries))
	for _, name := range s.order {
		all = append(all, s.sources[name]...)
	}
	list := New(all)
	if list.Equal(s.current.Load()) {
		return false, nil
	}
	s.current.Store(list)
	return true, nil
}
