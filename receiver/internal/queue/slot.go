// SPDX-License-Identifier: Apache-2.0

package queue

import "sync"

// Slot holds one value at most: a newer one takes the place of one that nobody
// has fetched.
type Slot[T any] struct {
	mu     sync.Mutex
	ready  sync.Cond
	value  T
	full   bool
	closed bool
}

// NewSlot makes an empty slot.
func NewSlot[T any]() *Slot[T] {
	s := &Slot[T]{}
	s.ready.L = &s.mu
	return s
}

// Put stores a value and reports whether another was replaced.
func (s *Slot[T]) Put(value T) (replaced bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	replaced = s.full
	s.value, s.full = value, true
	s.ready.Signal()
	return replaced
}

// Take fetches the value, waiting for one. ok is false when the slot is closed and
// empty.
func (s *Slot[T]) Take() (value T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.full {
		if s.closed {
			return value, false
		}
		s.ready.Wait()
	}
	value, s.full = s.value, false
	var none T
	s.value = none
	return value, true
}

// Close lets Take return what is there, then nothing. Closing again is allowed.
func (s *Slot[T]) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.ready.Broadcast()
}
