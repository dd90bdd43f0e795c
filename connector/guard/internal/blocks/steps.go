// SPDX-License-Identifier: Apache-2.0

package blocks

import (
	"container/list"
	"net/netip"
	"time"
)

// maxStep is enough to reach every MaxTTL.
const maxStep = 32

// length of a block of that step, without jitter.
func (s *Settings) length(step uint8) time.Duration {
	length := s.Length
	for ; step > 1 && length < s.MaxTTL; step-- {
		length *= 2
	}
	return min(length, s.MaxTTL)
}

// vary adds jitter to a length.
func (s *Settings) vary(length time.Duration) time.Duration {
	if s.Jitter <= 0 || s.Random == nil {
		return length
	}
	factor := 1 - s.Jitter + 2*s.Jitter*s.Random()
	return min(time.Duration(float64(length)*factor), s.MaxTTL)
}

// history remembers the steps of keys whose block is over, the latest last.
type history struct {
	limit  int
	forget time.Duration
	index  map[netip.Prefix]*list.Element
	order  *list.List
	// dropped counts keys that were forgotten early, for want of room.
	dropped uint64
}

// past is what is remembered of a key.
type past struct {
	key   netip.Prefix
	step  uint8
	ended time.Duration
}

func newHistory(limit int, forget time.Duration) *history {
	return &history{limit: limit, forget: forget, index: map[netip.Prefix]*list.Element{}, order: list.New()}
}

// step that the key has reached; 0 if it is not known.
func (h *history) step(key netip.Prefix, now time.Duration) uint8 {
	h.expire(now)
	if e, ok := h.index[key]; ok {
		return e.Value.(*past).step
	}
	return 0
}

// remember that a block of that step ended.
func (h *history) remember(key netip.Prefix, step uint8, ended time.Duration) {
	if e, ok := h.index[key]; ok {
		p := e.Value.(*past)
		p.step, p.ended = max(p.step, step), max(p.ended, ended)
		h.order.MoveToBack(e)
		return
	}
	if h.limit <= 0 {
		h.dropped++
		return
	}
	if len(h.index) >= h.limit {
		// A memory is no block: the one that matters least goes.
		h.remove(h.order.Front())
		h.dropped++
	}
	h.index[key] = h.order.PushBack(&past{key, step, ended})
}

// expire forgets what ended long ago. The order is that of the ends, but for restored ones, which
// come first.
func (h *history) expire(now time.Duration) {
	for e := h.order.Front(); e != nil && now-e.Value.(*past).ended >= h.forget; e = h.order.Front() {
		h.remove(e)
	}
}

func (h *history) drop(key netip.Prefix) {
	if e, ok := h.index[key]; ok {
		h.remove(e)
	}
}

func (h *history) remove(e *list.Element) {
	delete(h.index, e.Value.(*past).key)
	h.order.Remove(e)
}
