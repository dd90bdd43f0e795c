// SPDX-License-Identifier: Apache-2.0

package model

import "time"

// A rate looks back over the time between two snapshots of metrics, but at least over shortest
// and at most over longest seconds.
const (
	shortest = 10
	longest  = 60
)

// rate counts per second over the last seconds that are complete.
type rate struct {
	counts [longest + 1]float64
	// second is the newest that has a count, in Unix time.
	second int64
	// since is the first second.
	since int64
}

func (r *rate) at(s int64) *float64 { return &r.counts[s%int64(len(r.counts))] }

// add counts n at a time. What is older than the window is not counted.
func (r *rate) add(now time.Time, n float64) { r.spread(now.Add(-time.Second), now, n) }

// spread counts n that came some time between from and to: as much in each second after from.
func (r *rate) spread(from, to time.Time, n float64) {
	first, last := from.Unix()+1, to.Unix()
	first = min(first, last)
	if r.since == 0 {
		r.since = first
	}
	r.move(last)
	each := n / float64(last-first+1)
	for s := max(first, r.second-longest); s <= last; s++ {
		*r.at(s) += each
	}
}

// move forgets the seconds that the window leaves.
func (r *rate) move(to int64) {
	if to <= r.second {
		return
	}
	if to-r.second >= int64(len(r.counts)) {
		clear(r.counts[:])
	} else {
		for s := r.second + 1; s <= to; s++ {
			*r.at(s) = 0
		}
	}
	r.second = to
}

// perSecond is the mean over so many seconds, without the one that is not complete. In its first
// second it is the count so far.
func (r *rate) perSecond(now time.Time, window int64) float64 {
	s := now.Unix()
	r.move(s)
	seconds := min(s-r.since, window)
	if r.since == 0 || seconds <= 0 {
		return *r.at(s)
	}
	var sum float64
	for before := s - seconds; before < s; before++ {
		sum += *r.at(before)
	}
	return sum / float64(seconds)
}
