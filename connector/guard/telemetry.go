// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/figures"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/points"
	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/delivery"
	"github.com/ebpftcp/ebpftcpreceiver/internal/guard"
)

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
	w := points.Writer{To: scope.Metrics(), Start: pcommon.NewTimestampFromTime(k.since), Now: pcommon.NewTimestampFromTime(k.host.wall())}

	entries := w.Sum("tcp.server.block.entries", "Blocks that there are, by who decided on them.", "{block}", false)
	for kind := range blocks.Kinds {
		w.Point(entries, uint64(k.table.Count(kind)), "tcp.block.origin", kind.String())
	}
	packets := w.Sum("tcp.server.block.dropped", "Packets that were dropped, or in a dry run would have been. A super-packet counts as one.", "{packet}", true)
	bytes := w.Sum("tcp.server.block.dropped.io", "Bytes of these packets, link headers included.", "By", true)
	for by, counts := range k.tally.All() {
		labels := []string{"tcp.block.origin", by.Origin, "security_rule.name", clean.String(by.Rule), "tcp.block.mode", k.mode}
		w.Point(packets, counts.Packets, labels...)
		w.Point(bytes, counts.Bytes, labels...)
	}
	passed := w.Sum("tcp.server.block.passed", "Packets of blocked sources that passed, without those of dry runs.", "{packet}", true)
	for o := range guard.Outcomes {
		w.Point(passed, k.figures.Passed[o], "reason", o.String())
	}
	refusals := w.Sum("tcp.server.block.refusals", "Blocks that were asked for and refused.", "{block}", true)
	for why, n := range k.figures.Refusals {
		w.Point(refusals, n, "tcp.block.refusal", string(why))
	}
	w.Histogram("tcp.server.block.delay", "Time from the last evidence to the block.", "s", &k.figures.Delay)
	holding := int64(0)
	if k.holding {
		holding = 1
	}
	w.Gauge("tcp.server.block.holding", "1 while blocks hold, 0 while everything passes because the deadline was not renewed or the kill file exists.", "1", holding)
	return metrics, true
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
	counts := k.figures.Records
	k.mu.Unlock()
	for outcome, n := range counts {
		o.Observe(int64(n), k.with(attribute.String("outcome", figures.RecordNames[outcome])))
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
	untold := k.figures.Untold
	k.mu.Unlock()
	o.Observe(int64(untold), k.with(attribute.String("reason", "rate_limit")))
	return nil
}
