// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/kerneltest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadatatest"
)

// internalMetric returns the points of one internal metric, by their attributes without the
// receiver's id.
func internalMetric(t *testing.T, tt *componenttest.Telemetry, name string) map[string]int64 {
	t.Helper()
	return internalMetrics(t, tt, name)["ebpf_tcp"]
}

// internalMetrics returns the points of one internal metric of all receivers, by the receiver's
// id, then by their other attributes.
func internalMetrics(t *testing.T, tt *componenttest.Telemetry, name string) map[string]map[string]int64 {
	t.Helper()
	got, err := tt.GetMetric("otelcol_ebpf_tcp_" + name)
	require.NoError(t, err)
	var points []metricdata.DataPoint[int64]
	switch data := got.Data.(type) {
	case metricdata.Sum[int64]:
		points = data.DataPoints
	case metricdata.Gauge[int64]:
		points = data.DataPoints
	}
	values := map[string]map[string]int64{}
	for _, point := range points {
		receiver, ok := point.Attributes.Value("receiver")
		require.True(t, ok, "%s does not name its receiver", name)
		if values[receiver.AsString()] == nil {
			values[receiver.AsString()] = map[string]int64{}
		}
		others, _ := point.Attributes.Filter(attribute.NewDenyKeysFilter("receiver"))
		values[receiver.AsString()][others.Encoded(attribute.DefaultEncoder())] = point.Value
	}
	return values
}

// TestInternalMetricsOfTwoReceivers runs two receivers in one collector. They share its meter,
// and each point belongs to one of them.
func TestInternalMetricsOfTwoReceivers(t *testing.T) {
	tt := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tt.Shutdown(context.WithoutCancel(t.Context()))) }()
	for i, name := range []string{"web", "mail"} {
		env := &fakeEnvironment{t: t, prepare: func(k *kerneltest.Kernel) {
			k.Ledger.Opened = int64(i + 1)
			k.HookStates = []probe.HookState{{Feature: probe.FeatureConnection, Name: "tp_btf/inet_sock_set_state", Attached: true, Runs: 1}}
		}}
		set := metadatatest.NewSettings(tt)
		set.ID = component.NewIDWithName(metadata.Type, name)
		r := newReceiver(testConfig(), set, env.environment())
		r.logs, r.metrics = consumertest.NewNop(), consumertest.NewNop()
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		defer func() { require.NoError(t, r.Shutdown(t.Context())) }()
		waitFor(t, "the ledger is read", func() bool { return r.ledger.Balance(ledger.Connection).Produced == int64(i+1) })
	}
	declared, err := os.ReadFile("metadata.yaml")
	require.NoError(t, err)
	_, internal, _ := strings.Cut(string(declared), "\ntelemetry:\n")
	names := regexp.MustCompile(`(?m)^    ebpf_tcp_(\w+):$`).FindAllStringSubmatch(internal, -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		switch name[1] {
		case "network_namespaces", "series", "sources_entered", "sources_refused":
			waitFor(t, "a metric snapshot", func() bool {
				_, err := tt.GetMetric("otelcol_ebpf_tcp_" + name[1])
				return err == nil
			})
		case "hook_duration", "sources_sketch_utilization":
			continue // not a whole number, the same attributes as others
		}
		points := internalMetrics(t, tt, name[1])
		require.Len(t, points, 2, "%s is not of two receivers", name[1])
		require.Equal(t, slices.Sorted(maps.Keys(points["ebpf_tcp/web"])),
			slices.Sorted(maps.Keys(points["ebpf_tcp/mail"])), name[1])
	}
	produced := internalMetrics(t, tt, "produced")
	require.EqualValues(t, 1, produced["ebpf_tcp/web"]["event=connection"])
	require.EqualValues(t, 2, produced["ebpf_tcp/mail"]["event=connection"])
}

func TestInternalMetrics(t *testing.T) {
	tt := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tt.Shutdown(context.WithoutCancel(t.Context()))) }()
	env := &fakeEnvironment{t: t, prepare: func(k *kerneltest.Kernel) {
		const state = "tp_btf/inet_sock_set_state"
		k.HookStates = []probe.HookState{
			{Feature: probe.FeatureConnection, Name: state, Attached: true, Runs: 2, Nanoseconds: 5e8, Missed: 1},
			{Name: state, Attached: true, Runs: 3, Nanoseconds: 5e8},
			{Name: "raw_tp/kfree_skb"},
		}
	}}
	cfg := testConfig()
	sink := &consumertest.LogsSink{}
	r := newReceiver(cfg, metadatatest.NewSettings(tt), env.environment())
	r.logs, r.metrics = sink, consumertest.NewNop()
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	k := env.last()
	k.Requests(4)
	k.Open()
	waitFor(t, "the ledger is read", func() bool {
		return sink.LogRecordCount() == 4 && r.ledger.Balance(ledger.Connection).Produced == 5
	})

	assert.EqualValues(t, 5, internalMetric(t, tt, "produced")["event=connection"])
	waitFor(t, "delivered", func() bool { return internalMetric(t, tt, "delivered")["event=connection"] == 4 })
	assert.EqualValues(t, 0, internalMetric(t, tt, "queued")["event=connection"])
	assert.EqualValues(t, 1, internalMetric(t, tt, "connections_active")[""])
	lost := internalMetric(t, tt, "lost")
	assert.Contains(t, lost, "event=connection,place=ring,reason=full", "shown before the first loss")
	assert.NotContains(t, lost, "event=connection,place=kernel,reason=rate_limited", "impossible")
	assert.EqualValues(t, 0, internalMetric(t, tt, "queue_bytes")[""])
	assert.EqualValues(t, cfg.Queue.MaxBytes, internalMetric(t, tt, "queue_capacity")[""])
	waitFor(t, "a metric snapshot", func() bool { return internalMetric(t, tt, "series")[""] > 0 })
	assert.EqualValues(t, cfg.Limits.Series, internalMetric(t, tt, "series_limit")[""])
	assert.EqualValues(t, 1, internalMetric(t, tt, "map_entries")["map=connections"])
	assert.EqualValues(t, 64, internalMetric(t, tt, "map_capacity")["map=connections"])
	assert.Equal(t, map[string]int64{"hook=tp_btf/inet_sock_set_state": 1, "hook=raw_tp/kfree_skb": 0},
		internalMetric(t, tt, "hook_attached"))
	assert.EqualValues(t, 5, internalMetric(t, tt, "hook_runs")["hook=tp_btf/inet_sock_set_state"])
	assert.EqualValues(t, 1, internalMetric(t, tt, "hook_missed")["hook=tp_btf/inet_sock_set_state"])
	duration, err := tt.GetMetric("otelcol_ebpf_tcp_hook_duration")
	require.NoError(t, err)
	assert.Len(t, duration.Data.(metricdata.Sum[float64]).DataPoints, 2)

	accepted, err := tt.GetMetric("otelcol_receiver_accepted_log_records")
	require.NoError(t, err)
	require.Len(t, accepted.Data.(metricdata.Sum[int64]).DataPoints, 1)
	assert.EqualValues(t, 4, accepted.Data.(metricdata.Sum[int64]).DataPoints[0].Value)
	waitFor(t, "accepted metric points", func() bool {
		points, err := tt.GetMetric("otelcol_receiver_accepted_metric_points")
		return err == nil && len(points.Data.(metricdata.Sum[int64]).DataPoints) > 0
	})

	require.NoError(t, r.Shutdown(t.Context()))
	_, err = tt.GetMetric("otelcol_ebpf_tcp_produced")
	assert.Error(t, err, "nothing is observed after Shutdown")
}

// TestUnreadInternalMetrics: before the first snapshot, and if the kernel keeps no statistics of
// programs, the metrics are absent and not 0.
func TestUnreadInternalMetrics(t *testing.T) {
	tt := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tt.Shutdown(context.WithoutCancel(t.Context()))) }()
	env := &fakeEnvironment{t: t, prepare: func(k *kerneltest.Kernel) {
		k.SnapshotErr = assert.AnError
		k.HookStates = []probe.HookState{{Feature: probe.FeatureConnection, Name: "tp_btf/inet_sock_set_state", Attached: true}}
	}}
	r := newReceiver(testConfig(), metadatatest.NewSettings(tt), env.environment())
	r.logs = &consumertest.LogsSink{}
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	k := env.last()
	k.Requests(1)
	waitFor(t, "delivered", func() bool { return internalMetric(t, tt, "delivered")["event=connection"] == 1 })
	for _, name := range []string{"produced", "connections_active", "map_entries"} {
		_, err := tt.GetMetric("otelcol_ebpf_tcp_" + name)
		assert.Error(t, err, name)
	}
	k.Lock()
	k.SnapshotErr = nil
	k.Unlock()
	waitFor(t, "a snapshot", func() bool {
		_, err := tt.GetMetric("otelcol_ebpf_tcp_produced")
		return err == nil
	})
	assert.EqualValues(t, 1, internalMetric(t, tt, "produced")["event=connection"])
	for _, name := range []string{"hook_runs", "hook_duration"} {
		_, err := tt.GetMetric("otelcol_ebpf_tcp_" + name)
		assert.Error(t, err, name)
	}
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestLossesAreWarnedAboutOnce(t *testing.T) {
	core, messages := observer.New(zap.WarnLevel)
	env := &fakeEnvironment{t: t, prepare: func(k *kerneltest.Kernel) {
		k.Ledger.Lost[ledger.Connection][ledger.RingFull] = 12
		k.Ledger.Opened = 12
	}}
	set := nopSettings()
	set.Logger = zap.New(core)
	refusals := 0
	r := newReceiver(testConfig(), set, env.environment())
	r.logs = logsFunc{consume: func(context.Context, plog.Logs) error {
		refusals++
		return consumererror.NewPermanent(assert.AnError)
	}}
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	k := env.last()
	waitFor(t, "the first warning", func() bool { return messages.FilterMessageSnippet("events were lost").Len() == 1 })
	for range 20 {
		k.Requests(1)
	}
	waitFor(t, "more losses", func() bool { return r.ledger.Lost(ledger.Connection, ledger.Refused) == 20 })
	assert.Equal(t, 1, messages.FilterMessageSnippet("events were lost").Len())
	require.NoError(t, r.Shutdown(t.Context()))

	lines := messages.FilterMessageSnippet("events were lost").All()
	require.Len(t, lines, 2, "and one at the end")
	assert.Equal(t, []any{"12 connection at ring: full, raise limits::ring_bytes"}, lines[0].ContextMap()["lost"])
	assert.Equal(t, []any{"20 connection at consumer: refused"}, lines[1].ContextMap()["lost"])
	assert.Equal(t, 1, messages.FilterMessageSnippet("log records were dropped").Len(), "%d refusals", refusals)
}

// logsFunc is a logs consumer.
type logsFunc struct {
	consume func(context.Context, plog.Logs) error
	mutates bool
}

func (f logsFunc) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: f.mutates}
}

func (f logsFunc) ConsumeLogs(ctx context.Context, logs plog.Logs) error { return f.consume(ctx, logs) }

// TestInternalEnumsAreAsDeclared compares the attributes of the internal metrics with
// metadata.yaml.
func TestInternalEnumsAreAsDeclared(t *testing.T) {
	d := facttest.Declared(t)
	var events []string
	for event := range ledger.Events {
		events = append(events, event.String())
	}
	places, reasons := map[string]bool{}, map[string]bool{}
	for cause := range ledger.Causes {
		places[cause.Place()], reasons[cause.Reason()] = true, true
	}
	require.ElementsMatch(t, events, d.Attributes["event"].Enum)
	require.ElementsMatch(t, facttest.Keys(places), d.Attributes["place"].Enum)
	require.ElementsMatch(t, facttest.Keys(reasons), d.Attributes["reason"].Enum)
}

func TestInternalMetricsOfSources(t *testing.T) {
	tt := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tt.Shutdown(context.WithoutCancel(t.Context()))) }()
	env := &fakeEnvironment{t: t, prepare: func(k *kerneltest.Kernel) {
		k.Sources = probe.SourceFigures{Entered: 5, Promoted: 4, Full: 3, Share: 2, Crowded: 0.25}
	}}
	r := newReceiver(testConfig(), metadatatest.NewSettings(tt), env.environment())
	r.logs, r.metrics = consumertest.NewNop(), consumertest.NewNop()
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	defer func() { require.NoError(t, r.Shutdown(t.Context())) }()
	waitFor(t, "a snapshot", func() bool {
		_, err := tt.GetMetric("otelcol_ebpf_tcp_sources_entered")
		return err == nil
	})
	require.Equal(t, map[string]int64{"entry=at_once": 5, "entry=promoted": 4}, internalMetric(t, tt, "sources_entered"))
	require.Equal(t, map[string]int64{"reason=map_full": 3, "reason=map_share": 2}, internalMetric(t, tt, "sources_refused"))
	got, err := tt.GetMetric("otelcol_ebpf_tcp_sources_sketch_utilization")
	require.NoError(t, err)
	gauge, ok := got.Data.(metricdata.Gauge[float64])
	require.True(t, ok)
	require.Len(t, gauge.DataPoints, 1)
	require.InDelta(t, 0.25, gauge.DataPoints[0].Value, 0)
}
