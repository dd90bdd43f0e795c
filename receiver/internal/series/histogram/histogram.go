// SPDX-License-Identifier: Apache-2.0

// Package histogram adds up observations in buckets, explicit or exponential ones.
package histogram

import (
	"math"
	"slices"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// Bounds returns the bounds of an explicit histogram, in the unit of the metric. Each is the
// inclusive upper end of a bucket. They are nil for a metric that is no histogram.
func Bounds(m declared.Metric) []float64 {
	switch m {
	case declared.MetricRTT, declared.MetricHandshakeDuration, declared.MetricAcceptDuration:
		return []float64{
			10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3,
			25e-3, 50e-3, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
		}
	case declared.MetricHTTPServerRequestDuration, declared.MetricRPCServerCallDuration:
		// The semantic conventions'.
		return []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	// Those of the conventions for generative AI.
	case declared.MetricGenAIServerRequestDuration:
		return []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	case declared.MetricGenAIServerTimeToFirstToken:
		return []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	case declared.MetricGenAIClientTokenUsage:
		return []float64{1, 4, 16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20}
	case declared.MetricConnectionDuration:
		return []float64{
			1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
			30, 60, 300, 900, 3600,
		}
	default:
		return nil
	}
}

// Distribution is a cumulative histogram. It is for one goroutine at a time.
type Distribution struct {
	count   uint64
	sum     float64
	bounds  []float64
	buckets []uint64
	// exponential is nil in an explicit histogram.
	exponential *exponential
}

// New makes an empty Distribution. It keeps the bounds, which an exponential one ignores.
func New(bounds []float64, asExponential bool) *Distribution {
	if asExponential {
		return &Distribution{exponential: &exponential{scale: maxScale}}
	}
	return &Distribution{bounds: bounds, buckets: make([]uint64, len(bounds)+1)}
}

// Record adds an observation.
func (d *Distribution) Record(value float64) {
	d.count++
	d.sum += value
	if d.exponential != nil {
		d.exponential.record(value)
		return
	}
	// Bounds are few and most values are small.
	bucket := 0
	for bucket < len(d.bounds) && value > d.bounds[bucket] {
		bucket++
	}
	d.buckets[bucket]++
}

// Empty reports whether there was no observation.
func (d *Distribution) Empty() bool { return d.count == 0 }

// FillExplicit writes an explicit histogram to a data point.
func (d *Distribution) FillExplicit(point pmetric.HistogramDataPoint) {
	point.SetCount(d.count)
	point.SetSum(d.sum)
	point.ExplicitBounds().FromRaw(d.bounds)
	point.BucketCounts().FromRaw(d.buckets)
}

// FillExponential writes an exponential histogram to a data point.
func (d *Distribution) FillExponential(point pmetric.ExponentialHistogramDataPoint) {
	e := d.exponential
	point.SetCount(d.count)
	point.SetSum(d.sum)
	point.SetScale(int32(e.scale))
	point.SetZeroCount(e.zero)
	point.Positive().SetOffset(int32(e.offset))
	point.Positive().BucketCounts().FromRaw(e.buckets)
}

const (
	// maxScale is the finest resolution, a factor of 2^(2^-20) per bucket.
	maxScale = 20
	// maxBuckets bounds the memory. Values that do not fit make all buckets coarser.
	maxBuckets = 160
)

// exponential holds values that are not negative in buckets of equal ratio: bucket i
// is (base^i, base^(i+1)] with base 2^(2^-scale), as OpenTelemetry defines it.
type exponential struct {
	scale   int
	zero    uint64
	offset  int
	buckets []uint64
}

func (e *exponential) record(value float64) {
	if value <= 0 {
		e.zero++
		return
	}
	index := bucketIndex(value, e.scale)
	if len(e.buckets) == 0 {
		e.offset, e.buckets = index, []uint64{1}
		return
	}
	low, high := min(index, e.offset), max(index, e.offset+len(e.buckets)-1)
	coarser := 0
	for high-low >= maxBuckets {
		low, high = low>>1, high>>1
		coarser++
	}
	e.downscale(coarser)
	e.cover(low, high)
	e.buckets[index>>coarser-e.offset]++
}

// downscale merges 2^by neighbours at a time.
func (e *exponential) downscale(by int) {
	if by == 0 {
		return
	}
	offset := e.offset >> by
	for i, count := range e.buckets {
		to := (e.offset+i)>>by - offset
		if to != i {
			e.buckets[i] = 0
			e.buckets[to] += count
		}
	}
	last := (e.offset+len(e.buckets)-1)>>by - offset
	e.buckets, e.offset = e.buckets[:last+1], offset
	e.scale -= by
}

// cover makes room for all indexes from low to high.
func (e *exponential) cover(low, high int) {
	if before := e.offset - low; before > 0 {
		e.buckets = slices.Insert(e.buckets, 0, make([]uint64, before)...)
		e.offset = low
	}
	if after := high - (e.offset + len(e.buckets) - 1); after > 0 {
		e.buckets = append(e.buckets, make([]uint64, after)...)
	}
}

// bucketIndex returns the bucket of a positive value. Powers of two are bounds at every scale.
// They are compared exactly, and belong to the bucket below.
func bucketIndex(value float64, scale int) int {
	fraction, exponent := math.Frexp(value)
	if fraction == 0.5 {
		if scale >= 0 {
			return (exponent-1)<<scale - 1
		}
		return (exponent - 2) >> -scale
	}
	if scale <= 0 {
		return (exponent - 1) >> -scale
	}
	// fraction is within (0.5, 1), so that its logarithm is negative.
	steps := math.Ceil(math.Log2(fraction) * math.Ldexp(1, scale))
	return exponent<<scale + int(steps) - 1
}
