// SPDX-License-Identifier: Apache-2.0

package model

// top keeps the keys with the greatest weight, in bounded memory, by space-saving (Metwally,
// Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams,
// 2005). A key that finds no room takes the place of the lightest and its weight, so a weight is
// at most too great, by at most the lightest. No key heavier than that is missing.
type top[K comparable, V any] struct {
	limit   int
	entries map[K]*entry[V]
	// heap has the lightest first.
	heap []*entry[V]
	keys []K
}

// entry is a key's weight, and what else is known since it came in.
type entry[V any] struct {
	value  V
	weight float64
	// over is how much of the weight can be another's.
	over float64
	at   int
}

func newTop[K comparable, V any](limit int) *top[K, V] {
	return &top[K, V]{limit: limit, entries: make(map[K]*entry[V], limit)}
}

// add gives a key more weight and returns its entry.
func (t *top[K, V]) add(key K, weight float64) *entry[V] {
	e := t.entries[key]
	switch {
	case e != nil:
	case len(t.heap) < t.limit:
		e = &entry[V]{at: len(t.heap)}
		t.entries[key] = e
		t.heap, t.keys = append(t.heap, e), append(t.keys, key)
		t.up(e.at)
	default:
		e = t.heap[0]
		delete(t.entries, t.keys[0])
		t.entries[key], t.keys[0] = e, key
		var none V
		e.value, e.over = none, e.weight
	}
	e.weight += weight
	t.down(e.at)
	return e
}

// all calls back for each key, in no order.
func (t *top[K, V]) all(each func(K, *entry[V])) {
	for i, key := range t.keys {
		each(key, t.heap[i])
	}
}

func (t *top[K, V]) up(i int) {
	for i > 0 && t.heap[i].weight < t.heap[(i-1)/2].weight {
		t.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (t *top[K, V]) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(t.heap); child++ {
			if t.heap[child].weight < t.heap[least].weight {
				least = child
			}
		}
		if least == i {
			return
		}
		t.swap(i, least)
		i = least
	}
}

func (t *top[K, V]) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.keys[i], t.keys[j] = t.keys[j], t.keys[i]
	t.heap[i].at, t.heap[j].at = i, j
}
