// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/internal/delivery"
)

// measure sends the metric of findings. A point that is refused is superseded by the next.
func (j *judge) measure(ctx context.Context) {
	if j.metrics == nil {
		return
	}
	metrics := pmetric.NewMetrics()
	scope := metrics.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty()
	scope.Scope().SetName(metadata.ScopeName)
	scope.Scope().SetVersion(j.set.BuildInfo.Version)
	m := scope.Metrics().AppendEmpty()
	m.SetName("tcp.server.threats")
	m.SetDescription("Findings that began, by rule.")
	m.SetUnit("{finding}")
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	totals := j.totals()
	enabled := j.cfg.Rules.Enabled()
	now := pcommon.Timestamp(time.Now().UnixNano())
	for id := range catalogue.Rules {
		if !enabled[id.String()] && !j.scores(id) {
			continue
		}
		point := sum.DataPoints().AppendEmpty()
		point.SetStartTimestamp(pcommon.Timestamp(j.since))
		point.SetTimestamp(now)
		point.SetIntValue(int64(totals.Begun[id]))
		point.Attributes().PutStr("security_rule.name", j.nameOf(id))
	}
	if err := j.metrics.ConsumeMetrics(ctx, metrics); err != nil {
		j.set.Logger.Warn("the metric of findings was refused", zap.Error(err))
	}
}

// totals are zero when nothing runs.
func (j *judge) totals() engine.Totals {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.engine == nil {
		return engine.Totals{}
	}
	return j.engine.Totals()
}

// register sets the callbacks of the internal metrics.
func (j *judge) register() (*metadata.TelemetryBuilder, error) {
	b, err := metadata.NewTelemetryBuilder(j.set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		b.RegisterEbpfTCPThreatsRecordsCallback(j.observeRecords),
		b.RegisterEbpfTCPThreatsFindingsCallback(j.observeFindings),
		b.RegisterEbpfTCPThreatsEntriesCallback(j.observeEntries),
		b.RegisterEbpfTCPThreatsDisplacedCallback(j.observeDisplaced),
		b.RegisterEbpfTCPThreatsStateErrorsCallback(j.observeStateErrors),
		b.RegisterEbpfTCPThreatsToldCallback(j.observeTold),
		b.RegisterEbpfTCPThreatsUndeliveredCallback(j.observeUndelivered),
		b.RegisterEbpfTCPThreatsVectorsCallback(j.observeVectors),
		b.RegisterEbpfTCPThreatsWindowlessCallback(j.observeWindowless),
		b.RegisterEbpfTCPThreatsModelVectorsCallback(j.observeModelVectors),
		b.RegisterEbpfTCPThreatsModelQueuedCallback(j.observeModelQueued),
		b.RegisterEbpfTCPThreatsPayloadsCallback(j.observePayloads),
	)
	if err != nil {
		b.Shutdown()
		return nil, err
	}
	return b, nil
}

// with are the attributes of an observation.
func (j *judge) with(more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributes(append(more, attribute.String("connector", j.set.ID.String()))...)
}

func (j *judge) observeRecords(_ context.Context, o metric.Int64Observer) error {
	j.mu.Lock()
	counts := j.counts
	j.mu.Unlock()
	for event := range reading.Events {
		for outcome := range reading.Outcomes {
			if n := counts[event][outcome]; n > 0 || outcome == reading.Read && event != reading.Unknown {
				o.Observe(int64(n), j.with(attribute.String("event", event.String()), attribute.String("outcome", outcome.String())))
			}
		}
	}
	return nil
}

func (j *judge) observeFindings(_ context.Context, o metric.Int64Observer) error {
	totals := j.totals()
	for id := range catalogue.Rules {
		for _, of := range []struct {
			outcome string
			n       uint64
		}{{"begun", totals.Begun[id]}, {"suppressed", totals.Suppressed[id]}, {"excepted", totals.Excepted[id]}} {
			o.Observe(int64(of.n), j.with(attribute.String("security_rule.name", id.String()), attribute.String("outcome", of.outcome)))
		}
	}
	return nil
}

func (j *judge) observeEntries(_ context.Context, o metric.Int64Observer) error {
	totals := j.totals()
	for _, of := range []struct {
		table string
		n     int
	}{{"sources", totals.Sources}, {"sightings", totals.Sightings}, {"services", totals.Services}, {"identities", totals.Identities}, {"findings", totals.Open}} {
		o.Observe(int64(of.n), j.with(attribute.String("table", of.table)))
	}
	return nil
}

func (j *judge) observeDisplaced(_ context.Context, o metric.Int64Observer) error {
	totals := j.totals()
	for kept, n := range totals.Displaced {
		o.Observe(int64(n), j.with(attribute.String("table", "sources"), attribute.Bool("kept", kept == 1)))
	}
	for kept, n := range totals.DisplacedIdentities {
		o.Observe(int64(n), j.with(attribute.String("table", "identities"), attribute.Bool("kept", kept == 1)))
	}
	if c, scorer := j.counted(); scorer != nil {
		for kept, n := range c.Displaced {
			o.Observe(int64(n), j.with(attribute.String("table", "habits"), attribute.Bool("kept", kept == 1)))
		}
	}
	o.Observe(int64(totals.DisplacedFindings), j.with(attribute.String("table", "findings"), attribute.Bool("kept", true)))
	return nil
}

func (j *judge) observeStateErrors(_ context.Context, o metric.Int64Observer) error {
	o.Observe(int64(j.failed.Load()), j.with())
	return nil
}

func (j *judge) observeTold(_ context.Context, o metric.Int64Observer) error {
	if j.queue != nil {
		o.Observe(int64(j.queue.Told.Load()), j.with())
	}
	return nil
}

func (j *judge) observeUndelivered(_ context.Context, o metric.Int64Observer) error {
	if j.queue == nil {
		return nil
	}
	for reason := range delivery.Reasons {
		o.Observe(int64(j.queue.Lost[reason].Load()), j.with(attribute.String("reason", reason.String())))
	}
	return nil
}
