// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"errors"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	rcvr "go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/internal/sharedcomponent"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/kerneltest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/pipeline"
)

// testConfig is quick, so that no test waits for a default interval.
func testConfig() *Config {
	cfg := createDefaultConfig()
	cfg.CollectionInterval = 20 * time.Millisecond
	cfg.Batch.MaxAge = time.Millisecond
	cfg.Retry.InitialInterval = time.Millisecond
	cfg.Retry.MaxInterval = 10 * time.Millisecond
	return cfg
}

// waitFor returns once a condition holds.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, time.Millisecond, what)
}

func nopSettings() rcvr.Settings { return receivertest.NewNopSettings(metadata.Type) }

type statusHost struct {
	component.Host
	events chan *componentstatus.Event
}

func newStatusHost() *statusHost {
	return &statusHost{Host: componenttest.NewNopHost(), events: make(chan *componentstatus.Event, 100)}
}

func (h *statusHost) Report(e *componentstatus.Event) { h.events <- e }

func TestSignalsShareOneKernel(t *testing.T) {
	env := &fakeEnvironment{t: t}
	f := newFactory(env.environment())
	cfg := testConfig()
	logsSink, metricsSink := &consumertest.LogsSink{}, &consumertest.MetricsSink{}
	logs, err := f.CreateLogs(t.Context(), nopSettings(), cfg, logsSink)
	require.NoError(t, err)
	metrics, err := f.CreateMetrics(t.Context(), nopSettings(), cfg, metricsSink)
	require.NoError(t, err)
	logsHost, metricsHost := newStatusHost(), newStatusHost()
	require.NoError(t, logs.Start(t.Context(), logsHost))
	require.NoError(t, metrics.Start(t.Context(), metricsHost))
	require.Equal(t, 1, env.count())

	for _, host := range []*statusHost{logsHost, metricsHost} {
		event := <-host.events
		assert.Equal(t, componentstatus.StatusOK, event.Status())
		state, _ := event.Attributes().Get("hook.tp_btf/inet_sock_set_state")
		assert.Equal(t, "attached", state.Str())
	}
	env.last().Requests(3)
	waitFor(t, "logs", func() bool { return logsSink.LogRecordCount() == 3 })
	waitFor(t, "metrics", func() bool { return metricsSink.DataPointCount() > 0 })

	require.NoError(t, logs.Shutdown(t.Context()))
	require.NoError(t, metrics.Shutdown(t.Context()))
	assert.True(t, env.last().IsClosed())
}

func TestShutdownWithoutStart(t *testing.T) {
	env := &fakeEnvironment{t: t}
	r, err := newFactory(env.environment()).CreateLogs(t.Context(), nopSettings(), testConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, r.Shutdown(t.Context()))
	require.NoError(t, r.Shutdown(t.Context()))
	assert.Zero(t, env.count())
}

func TestStartAgainAfterShutdown(t *testing.T) {
	env := &fakeEnvironment{t: t}
	f := newFactory(env.environment())
	cfg := testConfig()
	for run := 1; run <= 3; run++ {
		sink := &consumertest.LogsSink{}
		r, err := f.CreateLogs(t.Context(), nopSettings(), cfg, sink)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, r.Start(ctx, componenttest.NewNopHost()))
		cancel() // the context of Start is not for what comes after it
		require.Equal(t, run, env.count())
		env.last().Requests(2)
		waitFor(t, "logs", func() bool { return sink.LogRecordCount() == 2 })
		require.NoError(t, r.Shutdown(t.Context()))
		assert.True(t, env.last().IsClosed())
		assert.True(t, env.last().IsDetached())
	}
}

// TestStartStopStart uses one instance, which both signals share.
func TestStartStopStart(t *testing.T) {
	env := &fakeEnvironment{t: t}
	f := newFactory(env.environment())
	cfg := testConfig()
	logsSink, metricsSink := &consumertest.LogsSink{}, &consumertest.MetricsSink{}
	logs, err := f.CreateLogs(t.Context(), nopSettings(), cfg, logsSink)
	require.NoError(t, err)
	metrics, err := f.CreateMetrics(t.Context(), nopSettings(), cfg, metricsSink)
	require.NoError(t, err)
	require.NoError(t, logs.Shutdown(t.Context()), "before Start it does nothing")
	shared := logs.(*sharedcomponent.Component[*tcpReceiver]).Unwrap()
	for run := 1; run <= 3; run++ {
		logsSink.Reset()
		metricsSink.Reset()
		require.NoError(t, logs.Start(t.Context(), componenttest.NewNopHost()))
		require.NoError(t, metrics.Start(t.Context(), componenttest.NewNopHost()))
		require.Equal(t, run, env.count())
		env.last().Requests(run)
		waitFor(t, "logs", func() bool { return logsSink.LogRecordCount() == run })
		require.NoError(t, logs.Shutdown(t.Context()))
		require.NoError(t, metrics.Shutdown(t.Context()))
		assert.True(t, env.last().IsClosed())
		assert.EqualValues(t, run, points(lastOf(t, metricsSink), "tcp.server.connection.opened", "server.port")["80"])
		want := ledger.Balance{Produced: int64(run), Delivered: int64(run)}
		assert.Equal(t, want, shared.ledger.Balance(ledger.Connection), "each start has its own ledger")
	}
}

func TestUnusedPacketSelectionIsWarnedAbout(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*Config)
		metrics bool
		reason  string
	}{
		"none selected":     {change: func(c *Config) { c.Events.TCPServerPacket.Enabled = false }},
		"selected and used": {change: func(c *Config) { c.Packets.SampleRate = 10 }},
		"no logs pipeline":  {change: func(c *Config) { c.Packets.SampleRate = 10 }, metrics: true, reason: "the receiver is in no logs pipeline"},
		"event disabled": {change: func(c *Config) {
			c.Packets.Flags = []string{"syn"}
			c.Events.TCPServerPacket.Enabled = false
		}, reason: "events::tcp.server.packet::enabled is false"},
	} {
		t.Run(name, func(t *testing.T) {
			core, messages := observer.New(zap.WarnLevel)
			cfg, set := testConfig(), nopSettings()
			test.change(cfg)
			set.Logger = zap.New(core)
			r := newReceiver(cfg, set, (&fakeEnvironment{t: t}).environment())
			if test.metrics {
				r.metrics = consumertest.NewNop()
			} else {
				r.logs = consumertest.NewNop()
			}
			require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
			require.NoError(t, r.Shutdown(t.Context()))
			lines := messages.FilterMessage("packet selection has no effect").All()
			if test.reason == "" {
				assert.Empty(t, lines)
				return
			}
			require.Len(t, lines, 1)
			assert.Equal(t, test.reason, lines[0].ContextMap()["reason"])
		})
	}
}

func TestStartFails(t *testing.T) {
	env := &fakeEnvironment{t: t, prepare: func(k *kerneltest.Kernel) { k.StartErr = errors.New("no hook attaches") }}
	f := newFactory(env.environment())
	r, err := f.CreateMetrics(t.Context(), nopSettings(), testConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, r.Start(t.Context(), componenttest.NewNopHost()), "start the kernel side: no hook attaches")
	assert.True(t, env.last().IsClosed(), "nothing half attached stays")
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestNoKernel(t *testing.T) {
	env := environment{
		newKernel: func(probe.Config, *zap.Logger) (pipeline.Kernel, error) { return nil, errors.New("not Linux") },
		root:      fstest.MapFS{},
	}
	r, err := newFactory(env).CreateLogs(t.Context(), nopSettings(), testConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, r.Start(t.Context(), componenttest.NewNopHost()), "prepare the kernel side: not Linux")
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestMissingHooks(t *testing.T) {
	const state = "tp_btf/inet_sock_set_state"
	env := &fakeEnvironment{t: t, prepare: func(k *kerneltest.Kernel) {
		k.HookStates = []probe.HookState{
			{Feature: probe.FeatureConnection, Name: state, Attached: true},
			{Name: state, Gives: "their end", Err: errors.New("refused")},
			{Name: state, Attached: true},
			{Name: "raw_tp/kfree_skb", Gives: "drops", Err: errors.New("permission denied")},
			{Name: "accept", Gives: "who accepted"},
			{Name: "tc/ingress", Gives: "packets", Err: errors.New("CAP_NET_ADMIN is missing")},
			{Name: "tc/egress", Gives: "packets", Err: errors.New("CAP_NET_ADMIN is missing")},
			{Name: "setns", Gives: "other namespaces", Err: errors.New("CAP_NET_ADMIN is missing")},
		}
	}}
	core, messages := observer.New(zap.WarnLevel)
	set := nopSettings()
	set.Logger = zap.New(core)
	r, err := newFactory(env.environment()).CreateLogs(t.Context(), set, testConfig(), consumertest.NewNop())
	require.NoError(t, err)
	host := newStatusHost()
	require.NoError(t, r.Start(t.Context(), host))
	event := <-host.events
	assert.Equal(t, componentstatus.StatusOK, event.Status(), "a missing hook is not an error")
	assert.Equal(t, map[string]any{
		"hook." + state: "refused", "hook.raw_tp/kfree_skb": "permission denied", "hook.accept": "off",
		"hook.tc/ingress": "CAP_NET_ADMIN is missing", "hook.tc/egress": "CAP_NET_ADMIN is missing",
		"hook.setns": "CAP_NET_ADMIN is missing",
	}, event.Attributes().AsRaw())
	lines := messages.FilterField(zap.String("lost", "drops")).All()
	require.Len(t, lines, 1)
	assert.Equal(t, "permission denied", lines[0].ContextMap()["error"])
	require.Len(t, messages.FilterField(zap.String("lost", "packets; other namespaces")).All(), 1)
	assert.Equal(t, 3, messages.Len(), "one line for each cause, none for one that is off")
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestReadingFailsAndRecovers(t *testing.T) {
	env := &fakeEnvironment{t: t, prepare: func(k *kerneltest.Kernel) { k.DrainErr = errors.New("broken ring") }}
	sink := &consumertest.LogsSink{}
	r, err := newFactory(env.environment()).CreateLogs(t.Context(), nopSettings(), testConfig(), sink)
	require.NoError(t, err)
	host := newStatusHost()
	require.NoError(t, r.Start(t.Context(), host))
	assert.Equal(t, componentstatus.StatusOK, (<-host.events).Status())
	failed := <-host.events
	assert.Equal(t, componentstatus.StatusRecoverableError, failed.Status())
	require.ErrorContains(t, failed.Err(), "drain the kernel's records: broken ring")

	k := env.last()
	k.Lock()
	k.DrainErr, k.SnapshotErr = nil, nil
	k.Unlock()
	assert.Equal(t, componentstatus.StatusOK, (<-host.events).Status())
	k.Requests(1)
	waitFor(t, "logs", func() bool { return sink.LogRecordCount() == 1 })
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestWrongConfigType(t *testing.T) {
	f := NewFactory()
	_, err := f.CreateLogs(t.Context(), nopSettings(), &struct{}{}, consumertest.NewNop())
	require.ErrorContains(t, err, "not of the ebpf_tcp receiver")
	_, err = f.CreateMetrics(t.Context(), nopSettings(), &struct{}{}, consumertest.NewNop())
	require.ErrorContains(t, err, "not of the ebpf_tcp receiver")
}

// TestRecordsForLogsOnly: without a logs pipeline, the kernel side makes no records for logs.
func TestRecordsForLogsOnly(t *testing.T) {
	cfg := testConfig()
	cfg.Events.TCPServerConnectionOpen.Enabled = true
	for _, logs := range []bool{true, false} {
		r := newReceiverUnderTest(t, cfg, nil, consumertest.NewNop())
		if logs {
			r.logs = consumertest.NewNop()
		}
		k := r.start(t)
		assert.Equal(t, logs, k.Config.OpenRecords)
		assert.Equal(t, logs, k.Config.FailedRecords)
		require.NoError(t, r.Shutdown(t.Context()))
	}
}
