// SPDX-License-Identifier: Apache-2.0

package owner

// recent is a map of bounded size that drops entries that were not used recently. It has
// two generations: when the young one is full, the old one is dropped. Every operation
// is O(1) on average, and none allocates once both have grown.
type recent[K comparable, V any] struct {
	young, old map[K]V
	half       int
}

// newRecent creates a map that keeps at least the last limit/2 used entries, and never
// more than limit (at least 2).
func newRecent[K comparable, V any](limit int) *recent[K, V] {
	return &recent[K, V]{
		young: make(map[K]V),
		old:   make(map[K]V),
		half:  max(1, limit/2),
	}
}

func (r *recent[K, V]) get(key K) (V, bool) {
	if value, ok := r.young[key]; ok {
		return value, true
	}
	value, ok := r.old[key]
	if ok {
		r.put(key, value)
	}
	return value, ok
}

func (r *recent[K, V]) put(key K, value V) {
	if _, ok := r.young[key]; !ok && len(r.young) >= r.half {
		clear(r.old)
		r.young, r.old = r.old, r.young
	}
	delete(r.old, key)
	r.young[key] = value
}
