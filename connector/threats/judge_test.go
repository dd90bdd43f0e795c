// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/metadata"
)

// scanOf are records of a scan, one closed port each.
func scanOf(client string, first, ports int) plog.Logs {
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("host.name", "web-1")
	records := resource.ScopeLogs().AppendEmpty().LogRecords()
	for port := range ports {
		r := records.AppendEmpty()
		r.SetEventName("tcp.server.connection.failed")
		r.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
		r.Attributes().PutStr("client.address", client)
		r.Attributes().PutInt("client.port", 40000)
		r.Attributes().PutStr("server.address", "192.0.2.1")
		r.Attributes().PutInt("server.port", int64(first+port))
		r.Attributes().PutStr("error.type", "refused")
	}
	return logs
}

// bench is a connector with both ends.
type bench struct {
	t         *testing.T
	factory   connector.Factory
	cfg       *Config
	host      component.Host
	telemetry *componenttest.Telemetry
	logs      consumertest.LogsSink
	metrics   consumertest.MetricsSink
	ends      [2]connector.Logs
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, factory: NewFactory(), cfg: createDefaultConfig(), host: componenttest.NewNopHost()}
	b.cfg.Rules.DistributedScan.Gather = 0
	b.cfg.MetricsInterval = 100 * time.Millisecond
	b.telemetry = componenttest.NewTelemetry()
	t.Cleanup(func() { assert.NoError(t, b.telemetry.Shutdown(context.Background())) })
	return b
}

func (b *bench) settings() connector.Settings {
	set := connectortest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = b.telemetry.NewTelemetrySettings()
	set.ID = component.NewID(metadata.Type)
	return set
}

func (b *bench) start() {
	b.t.Helper()
	logs, err := b.factory.CreateLogsToLogs(b.t.Context(), b.settings(), b.cfg, &b.logs)
	require.NoError(b.t, err)
	metrics, err := b.factory.CreateLogsToMetrics(b.t.Context(), b.settings(), b.cfg, &b.metrics)
	require.NoError(b.t, err)
	b.ends = [2]connector.Logs{logs, metrics}
	for _, end := range b.ends {
		require.NoError(b.t, end.Start(b.t.Context(), b.host))
	}
}

func (b *bench) stop() {
	b.t.Helper()
	for _, end := range b.ends {
		require.NoError(b.t, end.Shutdown(context.Background()))
	}
}

// consume gives records to both ends, as the Collector does.
func (b *bench) consume(logs plog.Logs) {
	b.t.Helper()
	for _, end := range b.ends {
		assert.False(b.t, end.Capabilities().MutatesData)
		require.NoError(b.t, end.ConsumeLogs(b.t.Context(), logs))
	}
}

// states are those of the findings that were told, with their evidence.
func (b *bench) states() []string {
	var states []string
	for _, logs := range b.logs.AllLogs() {
		for _, resource := range logs.ResourceLogs().All() {
			a := resource.ScopeLogs().At(0).LogRecords().At(0).Attributes()
			name, _ := a.Get("security_rule.name")
			state, _ := a.Get("tcp.threat.state")
			evidence, _ := a.Get("tcp.threat.evidence")
			states = append(states, fmt.Sprintf("%s %s %d", name.Str(), state.Str(), evidence.Int()))
		}
	}
	return states
}

// counted is the sum of the internal metric of records.
func (b *bench) counted(outcome string) (n int64) {
	got, err := b.telemetry.GetMetric("otelcol_ebpf_tcp_threats_records")
	require.NoError(b.t, err)
	return sumWith(b.t, got, "outcome", outcome)
}

func TestTwoEndsCountEachRecordOnce(t *testing.T) {
	b := newBench(t)
	b.start()
	b.consume(scanOf("198.51.100.7", 1, 8))
	time.Sleep(0)
	assert.Empty(t, b.states())
	b.consume(scanOf("198.51.100.7", 9, 1))
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		assert.Equal(t, []string{"port_scan begin 9"}, b.states())
		assert.Equal(t, int64(1), findings(b.metrics.AllMetrics()))
	}, 10*time.Second, 20*time.Millisecond)
	assert.Equal(t, int64(9), b.counted("read"))
	b.stop()
}

func TestMetricsAlone(t *testing.T) {
	b := newBench(t)
	metrics, err := b.factory.CreateLogsToMetrics(t.Context(), b.settings(), b.cfg, &b.metrics)
	require.NoError(t, err)
	require.NoError(t, metrics.Start(t.Context(), b.host))
	require.NoError(t, metrics.ConsumeLogs(t.Context(), scanOf("198.51.100.7", 1, 9)))
	require.NoError(t, metrics.ConsumeLogs(t.Context(), scanOf("198.51.100.8", 1, 9)))
	time.Sleep(2 * tickEvery)
	require.NoError(t, metrics.Shutdown(t.Context()))
	assert.Equal(t, int64(2), findings(b.metrics.AllMetrics()))
	first := b.metrics.AllMetrics()[0].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
	assert.Equal(t, "tcp.server.threats", first.Name())
	assert.Equal(t, 16, first.Sum().DataPoints().Len())
}

// findings is the latest value of the metric, over all rules.
func findings(all []pmetric.Metrics) (n int64) {
	if len(all) == 0 {
		return 0
	}
	last := all[len(all)-1].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
	for _, point := range last.Sum().DataPoints().All() {
		n += point.IntValue()
	}
	return n
}

func TestBeforeStartAndAfterShutdownNothingHappens(t *testing.T) {
	b := newBench(t)
	logs, err := b.factory.CreateLogsToLogs(t.Context(), b.settings(), b.cfg, &b.logs)
	require.NoError(t, err)
	require.NoError(t, logs.ConsumeLogs(t.Context(), scanOf("198.51.100.7", 1, 9)))
	require.NoError(t, logs.Start(t.Context(), b.host))
	require.NoError(t, logs.Shutdown(t.Context()))
	require.NoError(t, logs.ConsumeLogs(t.Context(), scanOf("198.51.100.7", 1, 9)))
	assert.Empty(t, b.states())
}

// memory is a storage extension.
type memory struct {
	component.StartFunc
	component.ShutdownFunc
	mu     sync.Mutex
	values map[string][]byte
	fails  error
}

func (m *memory) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return m, nil
}

func (m *memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.values[key], m.fails
}

func (m *memory) Set(ctx context.Context, key string, value []byte) error {
	return m.Batch(ctx, storage.SetOperation(key, value))
}

func (m *memory) Delete(ctx context.Context, key string) error {
	return m.Batch(ctx, storage.DeleteOperation(key))
}

func (m *memory) Batch(_ context.Context, ops ...*storage.Operation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, op := range ops {
		switch op.Type {
		case storage.Set:
			m.values[op.Key] = op.Value
		case storage.Delete:
			delete(m.values, op.Key)
		case storage.Get:
			op.Value = m.values[op.Key]
		}
	}
	return m.fails
}

func (m *memory) Close(context.Context) error { return nil }

type hostWith map[component.ID]component.Component

func (h hostWith) GetExtensions() map[component.ID]component.Component { return h }

func (b *bench) withStorage(m component.Component) {
	id := component.MustNewID("file_storage")
	b.cfg.Storage, b.host = &id, hostWith{id: m}
}

func TestARestartNeitherForgetsNorRepeats(t *testing.T) {
	m := &memory{values: map[string][]byte{}}
	b := newBench(t)
	b.withStorage(m)
	b.start()
	b.consume(scanOf("198.51.100.7", 1, 9))
	b.consume(scanOf("198.51.100.8", 1, 8))
	require.Eventually(t, func() bool { return len(b.states()) == 1 }, 10*time.Second, 20*time.Millisecond)
	b.stop()

	b = newBench(t)
	b.withStorage(m)
	b.start()
	b.consume(scanOf("198.51.100.7", 1, 20))
	b.consume(scanOf("198.51.100.8", 9, 1))
	require.Eventually(t, func() bool { return len(b.states()) > 0 }, 10*time.Second, 20*time.Millisecond)
	b.stop()
	assert.Equal(t, []string{"port_scan begin 9"}, b.states())
}

func TestAStateThatCannotBeReadIsNone(t *testing.T) {
	for name, m := range map[string]*memory{
		"damaged": {values: map[string][]byte{"meta": {1, 2, 3}}},
		"fails":   {values: map[string][]byte{}, fails: errors.New("no disk")},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.withStorage(m)
			b.start()
			b.consume(scanOf("198.51.100.7", 1, 9))
			require.Eventually(t, func() bool { return len(b.states()) == 1 }, 10*time.Second, 20*time.Millisecond)
			got, err := b.telemetry.GetMetric("otelcol_ebpf_tcp_threats_state_errors")
			require.NoError(t, err)
			assert.Equal(t, int64(1), sumWith(t, got, "", ""))
			b.stop()
		})
	}
}

func TestStorageMustExist(t *testing.T) {
	b := newBench(t)
	id := component.MustNewID("file_storage")
	b.cfg.Storage = &id
	logs, err := b.factory.CreateLogsToLogs(t.Context(), b.settings(), b.cfg, &b.logs)
	require.NoError(t, err)
	require.ErrorContains(t, logs.Start(t.Context(), b.host), `storage: there is no extension "file_storage"`)
	require.NoError(t, logs.Shutdown(t.Context()))
}

// TestARefusedFindingIsRetried, and one that is refused for good is counted.
func TestARefusedFindingIsRetried(t *testing.T) {
	b := newBench(t)
	refusals := 2
	var permanent bool
	var mu sync.Mutex
	next := consumerFunc(func(ctx context.Context, logs plog.Logs) error {
		mu.Lock()
		defer mu.Unlock()
		if permanent {
			return consumererror.NewPermanent(errors.New("never"))
		}
		if refusals--; refusals >= 0 {
			return errors.New("later")
		}
		return b.logs.ConsumeLogs(ctx, logs)
	})
	logs, err := b.factory.CreateLogsToLogs(t.Context(), b.settings(), b.cfg, next)
	require.NoError(t, err)
	require.NoError(t, logs.Start(t.Context(), b.host))
	require.NoError(t, logs.ConsumeLogs(t.Context(), scanOf("198.51.100.7", 1, 9)))
	require.Eventually(t, func() bool { return len(b.states()) == 1 }, 10*time.Second, 20*time.Millisecond)
	mu.Lock()
	permanent = true
	mu.Unlock()
	require.NoError(t, logs.ConsumeLogs(t.Context(), scanOf("198.51.100.8", 1, 9)))
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		got, err := b.telemetry.GetMetric("otelcol_ebpf_tcp_threats_undelivered")
		if assert.NoError(t, err) {
			assert.Equal(t, int64(1), sumWith(t, got, "reason", "refused"))
		}
	}, 10*time.Second, 20*time.Millisecond)
	require.NoError(t, logs.Shutdown(t.Context()))
}
