// SPDX-License-Identifier: Apache-2.0

package pipeline

import "sync"

// slot holds one value at most. A newer value replaces one that was not taken.
type slot[T any] struct {
	mu     sync.Mutex
	ready  sync.Cond
	value  T
	full   bool
	closed bool
}

// newSlot makes an empty slot.
func newSlot[T any]() *slot[T] {
	s := &slot[T]{}
	s.ready.L = &s.mu
	return s
}

// Put stores a value and reports whether another was replaced.
func (s *slot[T]) Put(value T) (replaced bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	replaced = s.full
	s.value, s.full = value, true
	s.ready.Signal()
	return replaced
}

// Withdraw takes the value if there is one, and does not wait.
func (s *slot[T]) Withdraw() (value T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var none T
	value, s.value, s.full = s.value, none, false
	return value
}

// Take waits for a value and takes it. ok is false if the slot is closed and empty.
func (s *slot[T]) Take() (value T, ok bool) {
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

// Close lets Take return the value that is left, then nothing. It may be called again.
func (s *slot[T]) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.ready.Broadcast()
}
