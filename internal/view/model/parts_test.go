// SPDX-License-Identifier: Apache-2.0

package model

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestRate(t *testing.T) {
	var r rate
	at := time.Unix(1_000_000, 0)
	assert.Zero(t, r.perSecond(at))
	r.add(at, 5)
	assert.InDelta(t, 5, r.perSecond(at), 0, "its first second, so far")
	r.add(at.Add(time.Second), 7)
	assert.InDelta(t, 5, r.perSecond(at.Add(time.Second)), 0, "without the second that is not complete")
	assert.InDelta(t, 6, r.perSecond(at.Add(2*time.Second)), 0)
	assert.InDelta(t, 1.2, r.perSecond(at.Add(10*time.Second)), 1e-9)
	assert.InDelta(t, 0.7, r.perSecond(at.Add(11*time.Second)), 1e-9, "the first has left the window")
	assert.Zero(t, r.perSecond(at.Add(12*time.Second)))
	r.add(at.Add(time.Hour), 30)
	r.add(at, 100) // too late to count
	assert.InDelta(t, 3, r.perSecond(at.Add(time.Hour+time.Second)), 0)
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
