// SPDX-License-Identifier: Apache-2.0

package model

import (
	"math"
	"time"
)

// Each bucket of a spread is wider than the one below by 2^(1/4), so a quantile is right within
// 10 %. The first ends at 1 µs and the last at more than an hour.
const (
	perOctave = 4
	buckets   = 32*perOctave + 1
	smallest  = 1e-6
	largest   = 4000 // seconds
	// keep is how long an observation counts at least. It counts for at most twice as long.
	keep = 30 * time.Second
)

// spread holds durations of the last while for quantiles.
type spread struct {
	now, before [buckets]uint32
	turned      time.Time
}

// add takes a duration in seconds.
func (s *spread) add(now time.Time, seconds float64) {
	s.turn(now)
	i := 0
	switch {
	case seconds >= largest:
		i = buckets - 1
	case seconds > smallest:
		i = int(math.Ceil(math.Log2(seconds/smallest) * perOctave))
	}
	s.now[i]++
}

func (s *spread) turn(now time.Time) {
	switch age := now.Sub(s.turned); {
	case age < keep:
		return
	case age < 2*keep:
		s.before = s.now
	default:
		clear(s.before[:])
	}
	clear(s.now[:])
	s.turned = now
}

// quantile is the duration below which so large a share of the observations is, in seconds, or
// -1 without any.
func (s *spread) quantile(now time.Time, share float64) float64 {
	s.turn(now)
	var total uint64
	for i := range s.now {
		total += uint64(s.now[i]) + uint64(s.before[i])
	}
	if total == 0 {
		return -1
	}
	wanted := uint64(math.Ceil(share * float64(total)))
	var below uint64
	for i := range s.now {
		if below += uint64(s.now[i]) + uint64(s.before[i]); below >= wanted {
			// The middle of the bucket.
			return smallest * math.Exp2((float64(i)-0.5)/perOctave)
		}
	}
	return -1
}
