// SPDX-License-Identifier: Apache-2.0

package histogram

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

func TestExplicitBounds(t *testing.T) {
	for id := range declared.Metrics {
		own := Bounds(id)
		require.Equal(t, id.Definition().Kind == declared.Histogram, own != nil, id.Definition().Name)
		require.IsIncreasing(t, append([]float64{0}, own...))
	}
	d := New([]float64{1, 10}, false)
	for _, value := range []float64{0, 1, 1.5, 10, 11, 1e9} {
		d.Record(value)
	}
	require.Equal(t, []uint64{2, 2, 2}, d.buckets, "a bound is the last value of its bucket")
	point := pmetric.NewHistogramDataPoint()
	d.FillExplicit(point)
	d.Record(1)
	require.Equal(t, []uint64{2, 2, 2}, point.BucketCounts().AsRaw(), "not touched later")
	require.EqualValues(t, 6, point.Count())
}

func TestExponentialBucketIndex(t *testing.T) {
	for _, test := range []struct {
		value       float64
		scale, want int
	}{
		{1, 0, -1},
		{1.5, 0, 0},
		{2, 0, 0},
		{2.1, 0, 1},
		{4, 0, 1},
		{0.5, 0, -2},
		{1, 3, -1},
		{2, 3, 7},
		{0.25, 3, -17},
		{1.01, 3, 0},
		{16, -1, 1},
		{17, -1, 2},
		{1, -1, -1},
		{4, -2, 0},
		{2, 20, 1<<20 - 1},
	} {
		require.Equal(t, test.want, bucketIndex(test.value, test.scale), "%v at %d", test.value, test.scale)
	}
}

// bucketEnds returns the bounds of a bucket. The lower one is exclusive.
func bucketEnds(index, scale int) (low, high float64) {
	width := math.Ldexp(1, -scale)
	return math.Exp2(float64(index) * width), math.Exp2(float64(index+1) * width)
}

func TestExponentialHoldsWhatItGot(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, decades := range []float64{0.01, 1, 6, 18} {
		e := &exponential{scale: maxScale}
		got := make([]float64, 2000)
		for i := range got {
			got[i] = math.Pow(10, decades*(random.Float64()-0.5))
			e.record(got[i])
		}
		require.LessOrEqual(t, len(e.buckets), maxBuckets)
		require.Greater(t, len(e.buckets), maxBuckets/4, "no coarser than needed")
		// A histogram that starts with this scale must have the same buckets.
		want := map[int]uint64{}
		for _, value := range got {
			index := bucketIndex(value, e.scale)
			want[index]++
			low, high := bucketEnds(index, e.scale)
			require.Greater(t, value, low*(1-1e-9))
			require.LessOrEqual(t, value, high*(1+1e-9))
		}
		held := map[int]uint64{}
		for i, count := range e.buckets {
			if count > 0 {
				held[e.offset+i] = count
			}
		}
		// A value that is nearly a bound may be on its other side, by rounding.
		moved := 0
		for index, count := range want {
			moved += int(math.Abs(float64(count) - float64(held[index])))
		}
		require.LessOrEqual(t, moved, 4)
	}
}

func TestExponentialExtremes(t *testing.T) {
	e := &exponential{scale: maxScale}
	for _, value := range []float64{0, -1, math.SmallestNonzeroFloat64, 1e-9, 1, 3600, math.MaxFloat64} {
		e.record(value)
	}
	require.EqualValues(t, 2, e.zero)
	require.LessOrEqual(t, len(e.buckets), maxBuckets)
	var total uint64
	for _, count := range e.buckets {
		total += count
	}
	require.EqualValues(t, 5, total)
}
