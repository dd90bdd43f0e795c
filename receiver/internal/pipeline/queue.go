// SPDX-License-Identifier: Apache-2.0

package pipeline

import "sync"

// queue joins the drain to a consumer, first in, first out. The sizes of its items bound it,
// the one being worked on included. It never blocks the producer.
type queue[T any] struct {
	capacity int

	mu     sync.Mutex
	ready  sync.Cond
	items  []sized[T]
	bytes  int
	closed bool
}

type sized[T any] struct {
	value T
	bytes int
}

// newQueue makes a queue of at most capacity bytes.
func newQueue[T any](capacity int) *queue[T] {
	q := &queue[T]{capacity: capacity}
	q.ready.L = &q.mu
	return q
}

// Push appends a value. It returns false if the value does not fit or the queue is closed.
func (q *queue[T]) Push(value T, bytes int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.bytes+bytes > q.capacity {
		return false
	}
	q.items = append(q.items, sized[T]{value, bytes})
	q.bytes += bytes
	q.ready.Signal()
	return true
}

// Pop waits for a value and takes the oldest. Its room stays taken until done is called. ok is
// false if the queue is closed and empty.
func (q *queue[T]) Pop() (value T, done func(), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 {
		if q.closed {
			return value, nil, false
		}
		q.ready.Wait()
	}
	item := q.items[0]
	q.items[0] = sized[T]{} // so that it can be collected
	q.items = q.items[1:]
	return item.value, func() { q.free(item.bytes) }, true
}

func (q *queue[T]) free(bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= bytes
}

// Close lets Pop return what is left, then nothing. It may be called again.
func (q *queue[T]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Broadcast()
}

// Abandon closes the queue and takes everything that waits.
func (q *queue[T]) Abandon() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	left := make([]T, 0, len(q.items))
	for _, item := range q.items {
		left = append(left, item.value)
		q.bytes -= item.bytes
	}
	q.items = nil
	q.ready.Broadcast()
	return left
}

// Bytes is the size of what waits, and of what was popped and is not done.
func (q *queue[T]) Bytes() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// Capacity is the bound of Bytes.
func (q *queue[T]) Capacity() int { return q.capacity }
