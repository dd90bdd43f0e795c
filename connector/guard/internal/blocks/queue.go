// SPDX-License-Identifier: Apache-2.0

package blocks

import (
	"container/heap"
	"net/netip"
	"time"
)

// queue has the ends of blocks, the next one first. A block that was prolonged or lifted leaves
// an end behind that means nothing.
type queue []end

type end struct {
	at  time.Duration
	key netip.Prefix
}

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(end)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// schedule notes when a block ends.
func (t *Table) schedule(key netip.Prefix, at time.Duration) {
	if at == Forever {
		return
	}
	heap.Push(&t.ends, end{at, key})
	if len(t.ends) > 2*t.count+1024 {
		t.reschedule()
	}
}

// reschedule drops the ends that mean nothing.
func (t *Table) reschedule() {
	t.ends = t.ends[:0]
	for key, held := range t.keys {
		for i := range held {
			if held[i].Until != Forever {
				t.ends = append(t.ends, end{held[i].Until, key})
			}
		}
	}
	heap.Init(&t.ends)
}

// Next is when the next block may end; Forever if none does.
func (t *Table) Next() time.Duration {
	if len(t.ends) == 0 {
		return Forever
	}
	return t.ends[0].at
}

// Tick ends the blocks whose time is over.
func (t *Table) Tick(now time.Duration) []Decision {
	var ended []Decision
	for len(t.ends) > 0 && t.ends[0].at <= now {
		key := heap.Pop(&t.ends).(end).key
		held := t.keys[key]
		for i := 0; i < len(held); {
			if held[i].Until > now {
				i++
				continue
			}
			ended = append(ended, t.end(key, i, Expired, now))
			held = t.keys[key]
		}
	}
	t.past.expire(now)
	return ended
}
