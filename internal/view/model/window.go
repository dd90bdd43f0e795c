// SPDX-License-Identifier: Apache-2.0

package model

import "time"

// span is how many seconds a rate looks back.
const span = 10

// rate counts per second over the last seconds that are complete.
type rate struct {
	counts [span + 1]float64
	// second is the newest that has a count, in Unix time.
	second int64
	// since is the first second.
	since int64
}

// add counts n at a time. What is older than the window is not counted.
func (r *rate) add(now time.Time, n float64) {
	s := now.Unix()
	if r.since == 0 {
		r.since = s
	}
	r.move(s)
	if s > r.second-int64(len(r.counts)) {
		r.counts[s%int64(len(r.counts))] += n
	}
}

// begin says that nothing counted before: a count that was made over a while is no burst.
func (r *rate) begin(at time.Time) {
	if r.since == 0 {
		r.since = at.Unix()
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
			r.counts[s%int64(len(r.counts))] = 0
		}
	}
	r.second = to
}

// perSecond is the mean over the window, without the second that is not complete. In its first
// second it is the count so far.
func (r *rate) perSecond(now time.Time) float64 {
	if r.since == 0 {
		return 0
	}
	s := now.Unix()
	r.move(s)
	var sum float64
	for i, n := range r.counts {
		if int64(i) != s%int64(len(r.counts)) {
			sum += n
		}
	}
	seconds := min(s-r.since, span)
	if seconds <= 0 {
		return r.counts[s%int64(len(r.counts))]
	}
	return sum / float64(seconds)
}
