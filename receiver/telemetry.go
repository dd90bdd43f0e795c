// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"errors"
	"slices"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/pipeline"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/sources"
)

// telemetry is what the internal metrics are read from.
type telemetry struct {
	// requests is nil if nothing is inspected.
	requests *httpview.Viewer
	// receiver is the component's id: several receivers share the Collector's meter.
	receiver component.ID
	ledger   *ledger.Ledger
	pipeline *pipeline.Pipeline
	// logs and metrics are nil without a pipeline of that signal.
	logs        *pipeline.LogSender
	metrics     *pipeline.MetricSender
	seriesLimit int
}

// register sets the callbacks of the internal metrics. The builder's Shutdown removes them.
func (t *telemetry) register(set component.TelemetrySettings) (*metadata.TelemetryBuilder, error) {
	b, err := metadata.NewTelemetryBuilder(set)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		b.RegisterEbpfTCPProducedCallback(t.onceRead(t.balances(func(b *ledger.Balance) int64 { return b.Produced }))),
		b.RegisterEbpfTCPDeliveredCallback(t.balances(func(b *ledger.Balance) int64 { return b.Delivered })),
		b.RegisterEbpfTCPQueuedCallback(t.balances(func(b *ledger.Balance) int64 { return b.Queued })),
		b.RegisterEbpfTCPLeftOutCallback(t.leftOut()),
		b.RegisterEbpfTCPHeaderFieldsIgnoredCallback(t.ignoredFields),
		b.RegisterEbpfTCPUpstreamRequestsCallback(t.upstreamRequests()),
		b.RegisterEbpfTCPLostCallback(t.losses()),
		b.RegisterEbpfTCPConnectionsActiveCallback(t.onceRead(t.number(t.active))),
		b.RegisterEbpfTCPQueueBytesCallback(t.queue(func() int { return t.logs.QueueBytes() })),
		b.RegisterEbpfTCPQueueCapacityCallback(t.queue(func() int { return t.logs.QueueCapacity() })),
		b.RegisterEbpfTCPSeriesCallback(t.number(t.series)),
		b.RegisterEbpfTCPSeriesLimitCallback(t.number(func() int64 { return int64(t.seriesLimit) })),
		b.RegisterEbpfTCPMapEntriesCallback(t.maps(func(m *probe.MapFill) int { return m.Entries })),
		b.RegisterEbpfTCPMapCapacityCallback(t.maps(func(m *probe.MapFill) int { return m.Capacity })),
		b.RegisterEbpfTCPNetworkNamespacesCallback(t.namespaces),
		sources.Register(b, t.pipeline.Last, t.attributes),
		b.RegisterEbpfTCPHookAttachedCallback(t.attached),
		b.RegisterEbpfTCPHookRunsCallback(t.whenGathered(t.hooks(func(h *hookTotal) uint64 { return h.runs }))),
		b.RegisterEbpfTCPHookMissedCallback(t.hooks(func(h *hookTotal) uint64 { return h.missed })),
		b.RegisterEbpfTCPHookDurationCallback(t.durations),
	)
	if err != nil {
		b.Shutdown()
		return nil, err
	}
	return b, nil
}

// onceRead observes nothing before the kernel side's part of the ledger was read.
func (t *telemetry) onceRead(observe metric.Int64Callback) metric.Int64Callback {
	return func(ctx context.Context, o metric.Int64Observer) error {
		if _, read := t.ledger.Kernel(); !read {
			return nil
		}
		return observe(ctx, o)
	}
}

func (t *telemetry) active() int64 {
	kernel, _ := t.ledger.Kernel()
	return kernel.Active
}

// series is 0 without a metrics pipeline.
func (t *telemetry) series() int64 {
	if t.metrics == nil {
		return 0
	}
	return t.metrics.SeriesCount()
}

func (t *telemetry) number(value func() int64) metric.Int64Callback {
	set := t.attributes()
	return func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(value(), set)
		return nil
	}
}

func (t *telemetry) queue(value func() int) metric.Int64Callback {
	set := t.attributes()
	return func(_ context.Context, o metric.Int64Observer) error {
		if t.logs != nil {
			o.Observe(int64(value()), set)
		}
		return nil
	}
}

// balances observes one term of the ledger for every accounted event.
func (t *telemetry) balances(term func(*ledger.Balance) int64) metric.Int64Callback {
	var sets [ledger.Events]metric.MeasurementOption
	for e := range ledger.AccountedEvents() {
		sets[e] = t.attributes(attribute.String("event", e.String()))
	}
	return func(_ context.Context, o metric.Int64Observer) error {
		for e := range ledger.AccountedEvents() {
			balance := t.ledger.Balance(e)
			o.Observe(term(&balance), sets[e])
		}
		return nil
	}
}

// leftOut observes requests, the only events that can be left out.
func (t *telemetry) leftOut() metric.Int64Callback {
	set := t.attributes(attribute.String("event", ledger.Request.String()))
	return func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(t.ledger.Balance(ledger.Request).LeftOut, set)
		return nil
	}
}

func (t *telemetry) ignoredFields(_ context.Context, o metric.Int64Observer) error {
	t.requests.Ignored(func(reason string, n int64) {
		o.Observe(n, t.attributes(attribute.String("reason", reason)))
	})
	return nil
}

// upstreamRequests observes what became of upstream requests of gateways.
func (t *telemetry) upstreamRequests() metric.Int64Callback {
	state := func(name string) metric.MeasurementOption { return t.attributes(attribute.String("state", name)) }
	held, tied, repeated, retried := state("held"), state("tied"), state("repeated"), state("retried")
	expired, displaced, ambiguous, ignored := state("expired"), state("displaced"), state("ambiguous"), state("ignored")
	return func(_ context.Context, o metric.Int64Observer) error {
		f := t.requests.UpstreamFigures()
		o.Observe(int64(f.Held), held)
		o.Observe(int64(f.Tied), tied)
		o.Observe(int64(f.Repeated), repeated)
		o.Observe(int64(f.Retried), retried)
		o.Observe(int64(f.Expired), expired)
		o.Observe(int64(f.Displaced), displaced)
		o.Observe(int64(f.Ambiguous), ambiguous)
		o.Observe(int64(f.Ignored), ignored)
		return nil
	}
}

func (t *telemetry) losses() metric.Int64Callback {
	var sets [ledger.Events][ledger.Causes]metric.MeasurementOption
	for e := range ledger.Events {
		for c := range ledger.Causes {
			sets[e][c] = t.attributes(
				attribute.String("event", e.String()),
				attribute.String("place", c.Place()),
				attribute.String("reason", c.Reason()))
		}
	}
	return func(_ context.Context, o metric.Int64Observer) error {
		for e := range ledger.Events {
			for c := range ledger.Causes {
				if n := t.ledger.Lost(e, c); n != 0 || e.CanLose(c) {
					o.Observe(n, sets[e][c])
				}
			}
		}
		return nil
	}
}

func (t *telemetry) maps(value func(*probe.MapFill) int) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		snapshot := t.pipeline.Last()
		if snapshot == nil {
			return nil
		}
		for _, m := range snapshot.Maps {
			o.Observe(int64(value(&m)), t.attributes(attribute.String("map", m.Name)))
		}
		return nil
	}
}

func (t *telemetry) namespaces(_ context.Context, o metric.Int64Observer) error {
	snapshot := t.pipeline.Last()
	if snapshot == nil {
		return nil
	}
	for state, n := range map[string]int{
		"attached":   snapshot.Namespaces.Attached,
		"failed":     snapshot.Namespaces.Failed,
		"over_limit": snapshot.Namespaces.OverLimit,
	} {
		o.Observe(int64(n), t.attributes(attribute.String("state", state)))
	}
	return nil
}

// hookTotal is the sum of the programs that share a hook.
type hookTotal struct {
	name                      string
	attached                  bool
	runs, nanoseconds, missed uint64
}

func (t *telemetry) hookTotals() []hookTotal {
	snapshot := t.pipeline.Last()
	if snapshot == nil {
		return nil
	}
	totals := make([]hookTotal, 0, len(snapshot.Hooks))
	index := make(map[string]int, len(snapshot.Hooks))
	for i := range snapshot.Hooks {
		h := &snapshot.Hooks[i]
		at, known := index[h.Name]
		if !known {
			at = len(totals)
			index[h.Name] = at
			totals = append(totals, hookTotal{name: h.Name, attached: true})
		}
		total := &totals[at]
		total.attached = total.attached && h.Attached
		total.runs += h.Runs
		total.nanoseconds += h.Nanoseconds
		total.missed += h.Missed
	}
	return totals
}

func (t *telemetry) hooks(value func(*hookTotal) uint64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		for _, h := range t.hookTotals() {
			o.Observe(int64(value(&h)), t.attributes(attribute.String("hook", h.name)))
		}
		return nil
	}
}

// gathered reports whether the kernel keeps statistics of programs. Some programs run all the
// time.
func (t *telemetry) gathered() bool {
	return slices.ContainsFunc(t.hookTotals(), func(h hookTotal) bool { return h.runs > 0 })
}

func (t *telemetry) whenGathered(observe metric.Int64Callback) metric.Int64Callback {
	return func(ctx context.Context, o metric.Int64Observer) error {
		if !t.gathered() {
			return nil
		}
		return observe(ctx, o)
	}
}

func (t *telemetry) attached(_ context.Context, o metric.Int64Observer) error {
	for _, h := range t.hookTotals() {
		var attached int64
		if h.attached {
			attached = 1
		}
		o.Observe(attached, t.attributes(attribute.String("hook", h.name)))
	}
	return nil
}

func (t *telemetry) durations(_ context.Context, o metric.Float64Observer) error {
	if !t.gathered() {
		return nil
	}
	for _, h := range t.hookTotals() {
		o.Observe(float64(h.nanoseconds)/1e9, t.attributes(attribute.String("hook", h.name)))
	}
	return nil
}

// attributes adds the receiver's id.
func (t *telemetry) attributes(kv ...attribute.KeyValue) metric.MeasurementOption {
	kv = append(kv, attribute.String("receiver", t.receiver.String()))
	return metric.WithAttributeSet(attribute.NewSet(kv...))
}
