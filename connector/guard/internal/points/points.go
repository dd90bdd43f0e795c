// SPDX-License-Identifier: Apache-2.0

// Package points writes metrics.
package points

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// bounds of a histogram, in seconds.
var bounds = [...]float64{0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60}

// Histogram counts durations. The last count is of those beyond the bounds.
type Histogram struct {
	counts [len(bounds) + 1]uint64
	count  uint64
	sum    float64
}

// Add counts a duration. A negative one, which a step of the clock makes, counts as 0.
func (h *Histogram) Add(d time.Duration) {
	seconds := max(d.Seconds(), 0)
	i := 0
	for i < len(bounds) && seconds > bounds[i] {
		i++
	}
	h.counts[i]++
	h.count++
	h.sum += seconds
}

// Writer appends metrics that began at Start.
type Writer struct {
	To         pmetric.MetricSlice
	Start, Now pcommon.Timestamp
}

func (w *Writer) next(name, description, unit string) pmetric.Metric {
	m := w.To.AppendEmpty()
	m.SetName(name)
	m.SetDescription(description)
	m.SetUnit(unit)
	return m
}

// Sum appends a cumulative sum without points.
func (w *Writer) Sum(name, description, unit string, monotonic bool) pmetric.Sum {
	s := w.next(name, description, unit).SetEmptySum()
	s.SetIsMonotonic(monotonic)
	s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	return s
}

// Point appends one. It has labels as keys and values in turn. One without value is left out.
func (w *Writer) Point(to pmetric.Sum, value uint64, labels ...string) {
	p := to.DataPoints().AppendEmpty()
	p.SetStartTimestamp(w.Start)
	p.SetTimestamp(w.Now)
	p.SetIntValue(int64(value))
	for i := 0; i < len(labels); i += 2 {
		if labels[i+1] != "" {
			p.Attributes().PutStr(labels[i], labels[i+1])
		}
	}
}

// Histogram appends a histogram with one point.
func (w *Writer) Histogram(name, description, unit string, h *Histogram) {
	m := w.next(name, description, unit).SetEmptyHistogram()
	m.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p := m.DataPoints().AppendEmpty()
	p.SetStartTimestamp(w.Start)
	p.SetTimestamp(w.Now)
	p.ExplicitBounds().FromRaw(bounds[:])
	p.BucketCounts().FromRaw(h.counts[:])
	p.SetCount(h.count)
	p.SetSum(h.sum)
}

// Gauge appends a gauge with one point.
func (w *Writer) Gauge(name, description, unit string, value int64) {
	p := w.next(name, description, unit).SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(w.Now)
	p.SetIntValue(value)
}
