// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/kerneltest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/pipeline"
)

// TestToggles: every event and metric has a toggle, and by default the user did not set it.
func TestToggles(t *testing.T) {
	cfg := createDefaultConfig()
	events, metrics := toggles(cfg.Events), toggles(cfg.Metrics)
	for event := range declared.Events {
		assert.Contains(t, events, event.String())
		assert.False(t, events[event.String()].explicit, event)
	}
	for metric := range declared.Metrics {
		assert.Contains(t, metrics, metric.String())
		assert.False(t, metrics[metric.String()].explicit, metric)
	}
}

// enabling is a configuration that enables events or metrics by name.
func enabling(t *testing.T, section string, names ...string) *Config {
	t.Helper()
	cfg := testConfig()
	switches := map[string]any{}
	for _, name := range names {
		switches[name] = map[string]any{"enabled": true}
	}
	require.NoError(t, confmap.NewFromStringMap(map[string]any{section: switches}).Unmarshal(cfg))
	return cfg
}

// selecting is a configuration whose settings of packets ask for packets.
func selecting() *Config {
	cfg := testConfig()
	cfg.Connections.HalfOpen, cfg.Packets.Flags = true, []string{"rst"}
	return cfg
}

func TestLacking(t *testing.T) {
	const drops, failed = "tcp.server.drops", "tcp.server.connection.failed"
	hook := func(feature string, err error) probe.HookState {
		return probe.HookState{Feature: feature, Attached: err == nil, Err: err}
	}
	noMember, noReason := errors.New("this kernel has no such member"), errors.New("no reasons before 5.17")
	connections, noConnections := hook(probe.FeatureConnection, nil), hook(probe.FeatureConnection, noMember)
	noDrops, packets := hook(probe.FeatureDrop, noReason), hook(probe.FeaturePacket, nil)
	withoutConnections := func(c *Config) *Config {
		c.Events.TCPServerConnectionClose.Enabled = false
		return c
	}
	tests := []struct {
		name          string
		cfg           *Config
		logs, metrics bool
		hooks         []probe.HookState
		want          string
		mendable      bool
	}{
		{"all is there", testConfig(), true, true, []probe.HookState{connections, packets}, "", false},
		{"by default, not the core", testConfig(), true, true, []probe.HookState{connections, noDrops}, "", false},
		{
			"the core, logs", testConfig(), true, false,
			[]probe.HookState{noConnections, packets},
			"can't give tcp.server.connection.close: this kernel has no such member", false,
		},
		{
			"the core, metrics", testConfig(), false, true,
			[]probe.HookState{noConnections, packets},
			"can't give tcp.server.accept.duration, tcp.server.connection.active, tcp.server.connection.closed, " +
				"tcp.server.connection.duration and 4 more: this kernel has no such member", false,
		},
		{"the core, which nobody asks for", withoutConnections(testConfig()), true, false, []probe.HookState{noConnections, packets}, "", false},
		{
			"nothing at all", withoutConnections(testConfig()), true, false,
			[]probe.HookState{noConnections},
			"no hook of the kernel could be attached", false,
		},
		{
			"by name", enabling(t, "metrics", drops), true, true,
			[]probe.HookState{connections, noDrops},
			"can't give tcp.server.drops: no reasons before 5.17", false,
		},
		{"by name, in no pipeline", enabling(t, "metrics", drops), true, false, []probe.HookState{connections, noDrops}, "", false},
		{
			"by name, left out by the configuration", enabling(t, "metrics", "tcp.server.packets"), true, true,
			[]probe.HookState{connections},
			"can't give tcp.server.packets: tc::mode is off", true,
		},
		{
			"another way is there", enabling(t, "events", failed), true, true,
			[]probe.HookState{connections, hook(probe.FeatureOverflowSYN, noReason), packets},
			"", false,
		},
		{
			"one of several ways is left out", enabling(t, "metrics", "tcp.server.accept.duration"), true, true,
			[]probe.HookState{connections, hook(probe.FeatureAccept, fmt.Errorf("%w, %w", noReason, probe.LeftOut("switched off")))},
			"can't give tcp.server.accept.duration: no reasons before 5.17; switched off", true,
		},
		{
			"by other settings", selecting(), true, false,
			[]probe.HookState{connections, hook(probe.FeaturePacket, noMember)},
			"can't give connections::half_open, tcp.server.packet: this kernel has no such member", false,
		},
		{
			"by other settings, in no pipeline", selecting(), false, true,
			[]probe.HookState{connections, hook(probe.FeaturePacket, noMember)},
			"can't give connections::half_open: this kernel has no such member", false,
		},
		{
			"waits for an interface", enabling(t, "metrics", "tcp.server.packets"), true, true,
			[]probe.HookState{connections, {Feature: probe.FeaturePacket}},
			"", false,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.cfg.lacking(test.logs, test.metrics, test.hooks)
			if test.want == "" {
				assert.NoError(t, err)
				return
			}
			require.EqualError(t, err, test.want)
			assert.Equal(t, test.mendable, capability.Mendable(err))
		})
	}
}

// withoutCore is a kernel side that only provides packets.
func withoutCore(why error) func(*kerneltest.Kernel) {
	return func(k *kerneltest.Kernel) {
		k.HookStates = []probe.HookState{
			{Feature: probe.FeatureConnection, Name: "tp_btf/inet_sock_set_state", Gives: "connections", Err: why},
			{Feature: probe.FeaturePacket, Name: "tcx/ingress", Gives: "packets", Attached: true},
		}
	}
}

// TestMissingCoreIsAPermanentError: the receiver runs, and the error stays.
func TestMissingCoreIsAPermanentError(t *testing.T) {
	env := &fakeEnvironment{t: t, prepare: withoutCore(errors.New("this kernel has no BTF"))}
	r, err := newFactory(env.environment()).CreateLogs(t.Context(), nopSettings(), testConfig(), consumertest.NewNop())
	require.NoError(t, err)
	host := newStatusHost()
	require.NoError(t, r.Start(t.Context(), host))
	event := <-host.events
	assert.Equal(t, componentstatus.StatusPermanentError, event.Status())
	require.EqualError(t, event.Err(), "can't give tcp.server.connection.close: this kernel has no BTF")
	attached, _ := event.Attributes().Get("hook.tcx/ingress")
	assert.Equal(t, "attached", attached.Str())

	k := env.last()
	setDrainError := func(err error) {
		k.Lock()
		defer k.Unlock()
		k.DrainErr = err
	}
	setDrainError(errors.New("broken ring"))
	waitFor(t, "snapshots", func() bool { k.Lock(); defer k.Unlock(); return k.Snapshots > 2 })
	setDrainError(nil)
	require.NoError(t, r.Shutdown(t.Context()))
	close(host.events)
	for event := range host.events {
		assert.Equal(t, componentstatus.StatusPermanentError, event.Status())
	}
}

func TestMissingCoreFailsStart(t *testing.T) {
	tests := []struct {
		name, onMissing string
		why             error
	}{
		{"as configured", onMissingFail, errors.New("this kernel has no BTF")},
		{"what the operator can mend", onMissingReport, probe.LeftOut("excluded by hooks::exclude")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			env := &fakeEnvironment{t: t, prepare: withoutCore(test.why)}
			cfg := testConfig()
			cfg.OnMissing = test.onMissing
			r, err := newFactory(env.environment()).CreateLogs(t.Context(), nopSettings(), cfg, consumertest.NewNop())
			require.NoError(t, err)
			require.EqualError(t, r.Start(t.Context(), newStatusHost()), "can't give tcp.server.connection.close: "+test.why.Error())
			assert.True(t, env.last().IsClosed())
			require.NoError(t, r.Shutdown(t.Context()))
		})
	}
}

// TestKernelWithoutTheLeast: if not even the maps can be created, other pipelines still run.
func TestKernelWithoutTheLeast(t *testing.T) {
	env := hostEnvironment()
	env.newKernel = func(probe.Config, *zap.Logger) (pipeline.Kernel, error) {
		return nil, fmt.Errorf("ring buffer: %w", errors.ErrUnsupported)
	}
	for _, onMissing := range []string{onMissingReport, onMissingFail} {
		cfg := testConfig()
		cfg.OnMissing = onMissing
		r, err := newFactory(env).CreateLogs(t.Context(), nopSettings(), cfg, consumertest.NewNop())
		require.NoError(t, err)
		host := newStatusHost()
		err = r.Start(t.Context(), host)
		if onMissing == onMissingFail {
			require.ErrorContains(t, err, "prepare the kernel side: ring buffer")
		} else {
			require.NoError(t, err)
			event := <-host.events
			assert.Equal(t, componentstatus.StatusPermanentError, event.Status())
			assert.ErrorContains(t, event.Err(), "prepare the kernel side: ring buffer")
		}
		require.NoError(t, r.Shutdown(t.Context()))
	}
}
