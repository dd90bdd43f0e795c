// SPDX-License-Identifier: Apache-2.0

// Package tally adds up what was dropped, by who decided on the block. The kernel counts per
// block, and forgets the counts with the block.
package tally

import (
	"iter"
	"net/netip"
)

// By says whose block dropped.
type By struct {
	Origin, Rule string
}

// Counts are packets and bytes.
type Counts struct {
	Packets, Bytes uint64
}

func (c *Counts) add(other Counts) { c.Packets += other.Packets; c.Bytes += other.Bytes }

// most is how many pairs of origin and rule are told apart. Others have neither.
const most = 1000

// Tally is not safe for concurrent use.
type Tally struct {
	totals map[By]*Counts
	// last are the kernel's counts of blocks that dropped anything, when they were last added.
	last map[netip.Prefix]Counts
}

// New makes an empty tally.
func New() *Tally {
	return &Tally{totals: make(map[By]*Counts), last: make(map[netip.Prefix]Counts)}
}

// Add adds what a block dropped since the last time. It reports whether that is anything.
func (t *Tally) Add(prefix netip.Prefix, by By, now Counts) bool {
	last := t.last[prefix]
	if now == last {
		return false
	}
	total := t.totals[by]
	if total == nil {
		if len(t.totals) >= most {
			by = By{}
		}
		if total = t.totals[by]; total == nil {
			total = &Counts{}
			t.totals[by] = total
		}
	}
	total.add(Counts{now.Packets - last.Packets, now.Bytes - last.Bytes})
	t.last[prefix] = now
	return true
}

// Forget comes when a block ends, after its last Add. Counts of its next one begin at 0.
func (t *Tally) Forget(prefix netip.Prefix) { delete(t.last, prefix) }

// Touch lets a pair appear with 0, so that its first drop is an increase.
func (t *Tally) Touch(by By) {
	if t.totals[by] == nil && len(t.totals) < most {
		t.totals[by] = &Counts{}
	}
}

// All are the totals, in no order.
func (t *Tally) All() iter.Seq2[By, Counts] {
	return func(yield func(By, Counts) bool) {
		for by, counts := range t.totals {
			if !yield(by, *counts) {
				return
			}
		}
	}
}
