// SPDX-License-Identifier: Apache-2.0

// Package table is a bounded map. A flood of new keys can't displace the entries that were found
// worth keeping: what is seen once only displaces what was seen once only.
package table

import "iter"

// chunk is how many entries are allocated together. Entries never move.
const chunk = 256

// Table holds at most so many entries. Most of its room is for entries that were kept by Keep.
type Table[K comparable, V any] struct {
	index  map[K]int32
	chunks [][]entry[K, V]
	used   int32
	limit  int32
	// kept is how many entries are kept, at most keptLimit.
	kept, keptLimit int32
	free            int32
	// fresh and keep are the heads of two rings, the latest first.
	fresh, keep int32
	// Evicted counts entries that were displaced, by whether they were kept.
	Evicted [2]uint64
}

type entry[K comparable, V any] struct {
	key        K
	value      V
	next, prev int32
	kept       bool
}

const none = int32(-1)

// New makes an empty table.
func New[K comparable, V any](limit int) *Table[K, V] {
	limit = max(limit, 4)
	return &Table[K, V]{
		index: map[K]int32{}, limit: int32(limit), keptLimit: int32(limit - limit/4),
		free: none, fresh: none, keep: none,
	}
}

// Len is the number of entries.
func (t *Table[K, V]) Len() int { return len(t.index) }

func (t *Table[K, V]) at(i int32) *entry[K, V] { return &t.chunks[i/chunk][i%chunk] }

// Get finds an entry and makes it the latest; nil if there is none.
func (t *Table[K, V]) Get(key K) *V {
	i, ok := t.index[key]
	if !ok {
		return nil
	}
	e := t.at(i)
	if ring := t.ring(e.kept); *ring != i {
		t.unlink(i)
		t.link(i)
	}
	return &e.value
}

// Add makes an entry for a key that has none. It is empty, and displaces another in a full table.
func (t *Table[K, V]) Add(key K) *V {
	i := t.take()
	e := t.at(i)
	*e = entry[K, V]{key: key}
	t.index[key] = i
	t.link(i)
	return &e.value
}

// GetKept is Get and then Keep.
func (t *Table[K, V]) GetKept(key K) *V {
	i, ok := t.index[key]
	if !ok {
		return nil
	}
	e := t.at(i)
	if !e.kept {
		t.protect(i)
	} else if t.keep != i {
		t.unlink(i)
		t.link(i)
	}
	return &e.value
}

// Keep protects an entry against new ones, unless there are too many to protect.
func (t *Table[K, V]) Keep(key K) {
	if i, ok := t.index[key]; ok && !t.at(i).kept {
		t.protect(i)
	}
}

func (t *Table[K, V]) protect(i int32) {
	if t.kept >= t.keptLimit {
		// The one that was kept but not seen for longest has to prove itself again.
		oldest := t.at(t.keep).prev
		t.unlink(oldest)
		t.at(oldest).kept = false
		t.link(oldest)
		t.kept--
	}
	t.unlink(i)
	t.at(i).kept = true
	t.link(i)
	t.kept++
}

// All are the entries, in no order. The loop may delete the current one.
func (t *Table[K, V]) All() iter.Seq2[K, *V] {
	return func(yield func(K, *V) bool) {
		for key, i := range t.index {
			if !yield(key, &t.at(i).value) {
				return
			}
		}
	}
}

// Delete removes an entry if there is one.
func (t *Table[K, V]) Delete(key K) {
	if i, ok := t.index[key]; ok {
		t.remove(i)
		t.at(i).next, t.free = t.free, i
	}
}

// take finds room for an entry.
func (t *Table[K, V]) take() int32 {
	switch {
	case t.free != none:
		i := t.free
		t.free = t.at(i).next
		return i
	case t.used < t.limit:
		if int(t.used) == len(t.chunks)*chunk {
			t.chunks = append(t.chunks, make([]entry[K, V], chunk))
		}
		t.used++
		return t.used - 1
	}
	ring := t.fresh
	if ring == none {
		ring = t.keep
	}
	i := t.at(ring).prev
	kept := 0
	if t.at(i).kept {
		kept = 1
	}
	t.Evicted[kept]++
	t.remove(i)
	return i
}

// remove clears an entry, so that what it points to is freed.
func (t *Table[K, V]) remove(i int32) {
	t.unlink(i)
	e := t.at(i)
	if e.kept {
		t.kept--
	}
	delete(t.index, e.key)
	*e = entry[K, V]{}
}

func (t *Table[K, V]) ring(kept bool) *int32 {
	if kept {
		return &t.keep
	}
	return &t.fresh
}

// link makes an entry the latest of its ring.
func (t *Table[K, V]) link(i int32) {
	e := t.at(i)
	head := t.ring(e.kept)
	if *head == none {
		e.next, e.prev = i, i
	} else {
		first := t.at(*head)
		e.next, e.prev = *head, first.prev
		t.at(first.prev).next = i
		first.prev = i
	}
	*head = i
}

func (t *Table[K, V]) unlink(i int32) {
	e := t.at(i)
	head := t.ring(e.kept)
	if e.next == i {
		*head = none
		return
	}
	t.at(e.prev).next, t.at(e.next).prev = e.next, e.prev
	if *head == i {
		*head = e.next
	}
}
