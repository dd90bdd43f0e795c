// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"math"
	"slices"
)

// waiting lets those connections go first whose updates are due longest. A pass sees connections in
// any order, so it notes the oldest times of those it puts off, and the next pass keeps room for them.
type waiting struct {
	// most bounds the updates of a pass.
	most int
	// due are times of updates that this pass put off: the oldest, and up to as many others. Times
	// from bound on are not among the oldest.
	due   []int64
	bound int64
	// reserved is how many updates of the pass are for those that are due until the time until.
	// next and nextUntil are these of the next pass.
	reserved, next   int
	until, nextUntil int64
}

func (w *waiting) beginPass() {
	w.due, w.bound = w.due[:0], math.MaxInt64
	w.reserved, w.until = w.next, w.nextUntil
}

// endPass prepares the next pass. After a pass that did not end, the next has the room that is left.
func (w *waiting) endPass() {
	w.trim()
	w.next, w.nextUntil = len(w.due), math.MinInt64
	if w.next > 0 {
		w.nextUntil = w.due[w.next-1]
	}
}

// admit reports whether an update that is due may be made while so many are left, and else puts it
// off.
func (w *waiting) admit(due int64, left int) bool {
	if due <= w.until && w.reserved > 0 {
		w.reserved--
		w.next--
		return true
	}
	if left > w.reserved {
		return true
	}
	if due < w.bound {
		w.due = append(w.due, due)
		if len(w.due) >= 2*w.most {
			w.trim()
		}
	}
	return false
}

// trim leaves the oldest, in order.
func (w *waiting) trim() {
	slices.Sort(w.due)
	if w.most > 0 && len(w.due) >= w.most {
		w.due = w.due[:w.most]
		w.bound = w.due[w.most-1]
	}
}
