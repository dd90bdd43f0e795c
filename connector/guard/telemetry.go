// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/delivery"
	"github.com/ebpftcp/ebpftcpreceiver/internal/guard"
)

// What came of a record.
const (
	request = iota
	otherRule
	nothingAsked
	recordOutcomes
)

var recordNames = [recordOutcomes]string{"request", "other_rule", "nothing_asked"}

// figures are counts since Start.
type figures struct {
	records  [recordOutcomes]uint64
	refusals map[blocks.Refusal]uint64
	// untold are refusals over max_refusals.
	untold uint64
	passed [guard.Outcomes]uint64
	delay  histogram
}

func newFigures() figures {
	refusals := make(map[blocks.Refusal]uint64)
	for _, why := range []blocks.Refusal{
		noSocketAddress, spoofable, allowed, byKernel,
		blocks.NoAddress, blocks.TooWide, blocks.TooMany, blocks.TooFast, blocks.ManyOrigins,
	} {
		refusals[why] = 0
	}
	return figures{refusals: refusals}
}

// bounds of the histogram, in seconds.
var bounds = []float64{0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60}

// histogram counts durations. The last count is of those beyond the bounds.
type histogram struct {
	counts [11]uint64
	count  uint64
	sum    float64
}

// add counts a negative duration, which a step of the clock makes, as 0.
func (h *histogram) add(d time.Duration) {
	seconds := max(d.Seconds(), 0)
	i := 0
	for i < len(bounds) && seconds > bounds[i] {
		i++
	}
	h.counts[i]++
	h.count++
	h.sum += seconds
}

// measure sends the metrics. Points that are refused are superseded by the next.
func (k *keeper) measure(ctx context.Context) {
	if k.metrics == nil {
		return
	}
	metrics, ok := k.points()
	if !ok {
		return
	}
	if err := k.metrics.ConsumeMetrics(ctx, metrics); err != nil {
		k.set.Logger.Warn("the guard's metrics were refused", zap.Error(err))
	}
}

// points are those of all metrics; false if nothing runs.
func (k *keeper) points() (pmetric.Metrics, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	metrics := pmetric.NewMetrics()
	if k.table == nil {
		return metrics, false
	}
	scope := metrics.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty()
	scope.Scope().SetName(metadata.ScopeName)
	scope.Scope().SetVersion(k.set.BuildInfo.Version)
	w := writer{scope.Metrics(), pcommon.NewTimestampFromTime(k.since), pcommon.NewTimestampFromTime(k.host.wall())}

	entries := w.sum("tcp.server.block.entries", "Blocks that there are, by who decided on them.", "{block}", false)
	for kind := range blocks.Kinds {
		w.point(entries, uint64(k.table.Count(kind)), "tcp.block.origin", kind.String())
	}
	packets := w.sum("tcp.server.block.dropped", "Packets that were dropped, or in a dry run would have been. A super-packet counts as one.", "{packet}", true)
	bytes := w.sum("tcp.server.block.dropped.io", "Bytes of these packets, link headers included.", "By", true)
	for by, counts := range k.tally.All() {
		labels := []string{"tcp.block.origin", by.Origin, "security_rule.name", clean.String(by.Rule), "tcp.block.mode", k.mode}
		w.point(packets, counts.Packets, labels...)
		w.point(bytes, counts.Bytes, labels...)
	}
	passed := w.sum("tcp.server.block.passed", "Packets of blocked sources that passed, without those of dry runs.", "{packet}", true)
	for o := range guard.Outcomes {
		w.point(passed, k.figures.passed[o], "reason", o.String())
	}
	refusals := w.sum("tcp.server.block.refusals", "Blocks that were asked for and refused.", "{block}", true)
	for why, n := range k.figures.refusals {
		w.point(refusals, n, "tcp.block.refusal", string(why))
	}
	w.delay(&k.figures.delay)
	holding := w.next("tcp.server.block.holding", "1 while blocks hold, 0 while everything passes because the deadline was not renewed or the kill file exists.", "1")
	point := holding.SetEmptyGauge().DataPoints().AppendEmpty()
	point.SetTimestamp(w.now)
	if k.holding {
		point.SetIntValue(1)
	}
	return metrics, true
}

// writer appends metrics.
type writer struct {
	to         pmetric.MetricSlice
	start, now pcommon.Timestamp
}

func (w *writer) next(name, description, unit string) pmetric.Metric {
	m := w.to.AppendEmpty()
	m.SetName(name)
	m.SetDescription(description)
	m.SetUnit(unit)
	return m
}

func (w *writer) sum(name, description, unit string, monotonic bool) pmetric.Sum {
	s := w.next(name, description, unit).SetEmptySum()
	s.SetIsMonotonic(monotonic)
	s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	return s
}

// point has labels as keys and values in turn. One without value is left out.
func (w *writer) point(to pmetric.Sum, value uint64, labels ...string) {
	p := to.DataPoints().AppendEmpty()
	p.SetStartTimestamp(w.start)
	p.SetTimestamp(w.now)
	p.SetIntValue(int64(value))
	for i := 0; i < len(labels); i += 2 {
		if labels[i+1] != "" {
			p.Attributes().PutStr(labels[i], labels[i+1])
		}
	}
}

func (w *writer) delay(h *histogram) {
	m := w.next("tcp.server.block.delay", "Time from the last evidence to the block.", "s").SetEmptyHistogram()
	m.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p := m.DataPoints().AppendEmpty()
	p.SetStartTimestamp(w.start)
	p.SetTimestamp(w.now)
	p.ExplicitBounds().FromRaw(bounds)
	p.BucketCounts().FromRaw(h.counts[:])
	p.SetCount(h.count)
	p.SetSum(h.sum)
}

// register sets the callbacks of the internal metrics.
func (k *keeper) register() (*metadata.TelemetryBuilder, error) {
	b, err := metadata.NewTelemetryBuilder(k.set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		b.RegisterEbpfTCPGuardRecordsCallback(k.observeRecords),
		b.RegisterEbpfTCPGuardCutCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(k.ended.Load()), k.with())
			return nil
		}),
		b.RegisterEbpfTCPGuardKernelErrorsCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(k.failed.Load()), k.with())
			return nil
		}),
		b.RegisterEbpfTCPGuardToldCallback(k.observeTold),
		b.RegisterEbpfTCPGuardUndeliveredCallback(k.observeUndelivered),
	)
	if err != nil {
		b.Shutdown()
		return nil, err
	}
	return b, nil
}

// with are the attributes of an observation.
func (k *keeper) with(more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributes(append(more, attribute.String("connector", k.set.ID.String()))...)
}

func (k *keeper) observeRecords(_ context.Context, o metric.Int64Observer) error {
	k.mu.Lock()
	counts := k.figures.records
	k.mu.Unlock()
	for outcome, n := range counts {
		o.Observe(int64(n), k.with(attribute.String("outcome", recordNames[outcome])))
	}
	return nil
}

func (k *keeper) observeTold(_ context.Context, o metric.Int64Observer) error {
	if k.queue != nil {
		o.Observe(int64(k.queue.Told.Load()), k.with())
	}
	return nil
}

func (k *keeper) observeUndelivered(_ context.Context, o metric.Int64Observer) error {
	if k.queue == nil {
		return nil
	}
	for reason := range delivery.Reasons {
		o.Observe(int64(k.queue.Lost[reason].Load()), k.with(attribute.String("reason", reason.String())))
	}
	k.mu.Lock()
	untold := k.figures.untold
	k.mu.Unlock()
	o.Observe(int64(untold), k.with(attribute.String("reason", "rate_limit")))
	return nil
}
