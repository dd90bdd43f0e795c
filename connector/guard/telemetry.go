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
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/crowdsec"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/figures"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/points"
	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
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
	k.figures.Write(&w)
	holding := int64(0)
	if k.deadline.Holding() {
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
		b.RegisterEbpfTCPGuardCrowdsecIgnoredCallback(k.observeIgnored),
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
	o.Observe(int64(k.outlet.Told()), k.with())
	return nil
}

func (k *keeper) observeUndelivered(_ context.Context, o metric.Int64Observer) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.outlet.Undelivered(func(reason string, n uint64) {
		o.Observe(int64(n), k.with(attribute.String("reason", reason)))
	})
	return nil
}

// observeIgnored counts the decisions of CrowdSec that have no effect.
func (k *keeper) observeIgnored(_ context.Context, o metric.Int64Observer) error {
	k.mu.Lock()
	api := k.api
	k.mu.Unlock()
	if api == nil {
		return nil
	}
	for reason, n := range api.Ignored() {
		o.Observe(int64(n), k.with(attribute.String("reason", crowdsec.Ignored(reason).String())))
	}
	return nil
}
