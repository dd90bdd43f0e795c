// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/internal/guard"
)

// fakeKernel is a kernel whose answers a test decides. Tests with real parts are in test/e2e and
// internal/guard.
type fakeKernel struct {
	mu      sync.Mutex
	blocks  map[netip.Prefix]guard.Block
	counts  map[netip.Prefix]guard.Counts
	allowed []netip.Prefix
	full    bool
	holds   bool
	cuts    int
	closed  bool
}

func (f *fakeKernel) Start() error          { return nil }
func (f *fakeKernel) States() []guard.State { return nil }
func (f *fakeKernel) Renew() error          { return f.set(func() { f.holds = true }) }
func (f *fakeKernel) LetPass() error        { return f.set(func() { f.holds = false }) }
func (f *fakeKernel) Close() error          { return f.set(func() { f.closed = true }) }
func (f *fakeKernel) CutsBy() (string, error) {
	return "iter/tcp", nil
}
func (f *fakeKernel) Totals() (guard.Totals, error) { return guard.Totals{}, nil }
func (f *fakeKernel) Cut() (int, error)             { return 1, f.set(func() { f.cuts++ }) }
func (f *fakeKernel) Allow(all []netip.Prefix) error {
	return f.set(func() { f.allowed = all })
}

func (f *fakeKernel) set(change func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	return nil
}

func (f *fakeKernel) Put(key netip.Prefix, b guard.Block) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		return guard.ErrFull
	}
	f.blocks[key] = b
	return nil
}

func (f *fakeKernel) Remove(key netip.Prefix) (guard.Counts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.blocks[key]; !ok {
		return guard.Counts{}, errors.New("no such block")
	}
	delete(f.blocks, key)
	return f.counts[key], nil
}

func (f *fakeKernel) Each(each func(netip.Prefix, guard.Counts)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, counts := range f.counts {
		each(key, counts)
	}
	return nil
}

func (f *fakeKernel) block(key string) (b guard.Block, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok = f.blocks[netip.MustParsePrefix(key)]
	return b, ok
}

// bench is a connector with both ends.
type bench struct {
	t       *testing.T
	factory connector.Factory
	cfg     *Config
	kernel  *fakeKernel
	refuses error
	mu      sync.Mutex
	boot    time.Duration
	host    component.Host
	logs    consumertest.LogsSink
	metrics consumertest.MetricsSink
	ends    [2]connector.Logs
}

func newBench(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{
		t: t, host: componenttest.NewNopHost(), cfg: createDefaultConfig(), boot: time.Hour,
		kernel: &fakeKernel{blocks: map[netip.Prefix]guard.Block{}, counts: map[netip.Prefix]guard.Counts{}},
	}
	b.cfg.Mode, b.cfg.Interfaces, b.cfg.Rules = modeEnforce, []string{"eth0"}, []string{"login_guessing"}
	b.cfg.MetricsInterval, b.cfg.Shares.Enabled = 100*time.Millisecond, false
	for _, f := range change {
		f(b.cfg)
	}
	require.NoError(t, b.cfg.Validate())
	b.factory = newFactory(machine{
		open: func(guard.Options) (kernel, error) { return b.kernel, b.refuses },
		boot: func() time.Duration { b.mu.Lock(); defer b.mu.Unlock(); return b.boot },
		wall: time.Now,
	})
	return b
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.boot += d
}

func (b *bench) start() *bench {
	b.t.Helper()
	set := connectortest.NewNopSettings(metadata.Type)
	set.ID = component.NewID(metadata.Type)
	logs, err := b.factory.CreateLogsToLogs(b.t.Context(), set, b.cfg, &b.logs)
	require.NoError(b.t, err)
	metrics, err := b.factory.CreateLogsToMetrics(b.t.Context(), set, b.cfg, &b.metrics)
	require.NoError(b.t, err)
	b.ends = [2]connector.Logs{logs, metrics}
	for _, end := range b.ends {
		require.NoError(b.t, end.Start(b.t.Context(), b.host))
	}
	b.t.Cleanup(b.stop)
	return b
}

func (b *bench) stop() {
	for _, end := range b.ends {
		assert.NoError(b.t, end.Shutdown(context.Background()))
	}
}

// finding is a record of a rule about a source.
func (b *bench) finding(event string, attributes map[string]any) {
	b.t.Helper()
	logs := plog.NewLogs()
	r := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	r.SetEventName(event)
	require.NoError(b.t, r.Attributes().FromRaw(attributes))
	for _, end := range b.ends {
		assert.False(b.t, end.Capabilities().MutatesData)
		require.NoError(b.t, end.ConsumeLogs(b.t.Context(), logs))
	}
}

func guessing(address string) map[string]any {
	return map[string]any{
		"security_rule.name": "login_guessing", "client.address": address, "tcp.threat.spoofable": false,
		"tcp.threat.evidence": 7, "tcp.block.reason": "seven wrong passwords",
	}
}

// bodies are those of the records so far.
func (b *bench) bodies() (all []string) {
	for _, logs := range b.logs.AllLogs() {
		for _, r := range logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
			all = append(all, r.Body().Str())
		}
	}
	return all
}

func (b *bench) eventually(holds func() bool, about ...any) {
	b.t.Helper()
	require.Eventually(b.t, holds, 10*time.Second, 10*time.Millisecond, about...)
}

func (b *bench) tells(bodies ...string) {
	b.t.Helper()
	b.eventually(func() bool { return slices.Equal(bodies, b.bodies()) }, "%v", bodies)
}

// value is the latest one of a metric, with this attribute if one is given.
func (b *bench) value(metric string, attribute ...string) (value int64) {
	all := b.metrics.AllMetrics()
	if len(all) == 0 {
		return -1
	}
	for _, m := range all[len(all)-1].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
		if m.Name() != metric {
			continue
		}
		if metric == "tcp.server.block.holding" {
			return m.Gauge().DataPoints().At(0).IntValue()
		}
		for _, p := range m.Sum().DataPoints().All() {
			got, _ := p.Attributes().Get(attribute[0])
			if got.AsString() == attribute[1] {
				value += p.IntValue()
			}
		}
	}
	return value
}
