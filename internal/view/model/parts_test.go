// SPDX-License-Identifier: Apache-2.0

package model

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestRate(t *testing.T) {
	var r rate
	at := time.Unix(1_000_000, 0)
	after := func(seconds int) time.Time { return at.Add(time.Duration(seconds) * time.Second) }
	per := func(seconds int) float64 { return r.perSecond(after(seconds), shortest) }
	assert.Zero(t, per(0))
	r.add(at, 5)
	assert.InDelta(t, 5, per(0), 0, "its first second, so far")
	r.add(after(1), 7)
	assert.InDelta(t, 5, per(1), 0, "without the second that is not complete")
	assert.InDelta(t, 6, per(2), 0)
	assert.InDelta(t, 1.2, per(10), 1e-9)
	assert.InDelta(t, 0.7, per(11), 1e-9, "the first has left the window")
	assert.Zero(t, per(12))
	r.add(after(3600), 30)
	r.add(at, 100) // too late to count
	assert.InDelta(t, 3, per(3601), 0)
}

// TestRateOfSnapshots: what came between two of them is no burst at the second.
func TestRateOfSnapshots(t *testing.T) {
	for _, interval := range []int{1, 10, 30, 60, 300} {
		var r rate
		at := time.Unix(1_000_000, 0)
		window := int64(max(shortest, min(longest, interval)))
		for range 5 {
			next := at.Add(time.Duration(interval) * time.Second)
			r.spread(at, next, float64(8*interval))
			at = next
		}
		assert.InDelta(t, 8, r.perSecond(at.Add(time.Second), window), 1e-9, "each %d s", interval)
	}
}

func TestSpread(t *testing.T) {
	var s spread
	at := time.Unix(1_000_000, 0)
	assert.InDelta(t, -1, s.quantile(at, 0.5), 0)
	for i := 1; i <= 1000; i++ {
		s.add(at, float64(i)/1000)
	}
	assert.InEpsilon(t, 0.5, s.quantile(at, 0.5), 0.1)
	assert.InEpsilon(t, 0.99, s.quantile(at, 0.99), 0.1)
	s.add(at.Add(keep), 3600*24)
	s.add(at.Add(keep), 0)
	s.add(at.Add(keep), math.Inf(1))
	s.add(at.Add(keep), 1e300)
	assert.InEpsilon(t, 0.5, s.quantile(at.Add(keep), 0.5), 0.1, "the half minute before counts, too")
	assert.InDelta(t, -1, s.quantile(at.Add(3*keep), 0.5), 0, "older does not")
}

// TestTop compares with exact counts: what space-saving promises holds whatever the order.
func TestTop(t *testing.T) {
	const limit = 32
	random := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(random, 1.2, 1, 10_000)
	kept := newTop[uint64, int](limit)
	exact := map[uint64]float64{}
	for range 100_000 {
		key := zipf.Uint64()
		exact[key]++
		kept.add(key, 1)
	}
	found := map[uint64]*entry[int]{}
	kept.all(func(key uint64, e *entry[int]) { found[key] = e })
	assert.Len(t, found, limit)
	least := kept.heap[0].weight
	for key, weight := range exact {
		e := found[key]
		if e == nil {
			assert.LessOrEqual(t, weight, least, "key %d is missing", key)
			continue
		}
		assert.GreaterOrEqual(t, e.weight, weight)
		assert.LessOrEqual(t, e.weight-e.over, weight)
	}
	assert.NotNil(t, found[0], "the heaviest")
}
