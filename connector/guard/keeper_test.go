// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
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
	logs    consumertest.LogsSink
	metrics consumertest.MetricsSink
	ends    [2]connector.Logs
}

func newBench(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{
		t: t, cfg: createDefaultConfig(), boot: time.Hour,
		kernel: &fakeKernel{blocks: map[netip.Prefix]guard.Block{}, counts: map[netip.Prefix]guard.Counts{}},
	}
	b.cfg.Mode, b.cfg.Interfaces, b.cfg.Rules = modeEnforce, []string{"eth0"}, []string{"login_guessing"}
	b.cfg.MetricsInterval = minInterval
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
		require.NoError(b.t, end.Start(b.t.Context(), componenttest.NewNopHost()))
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

func TestBlocksAndEnds(t *testing.T) {
	b := newBench(t, func(c *Config) { c.WhileActive = false }).start()
	b.finding("tcp.server.threat", guessing("198.51.100.7"))
	block, ok := b.kernel.block("198.51.100.7/32")
	require.True(t, ok)
	assert.False(t, block.DryRun)
	assert.InDelta(t, 10*time.Minute, block.Left, float64(time.Minute))
	b.eventually(func() bool { return len(b.bodies()) == 1 })
	r := b.logs.AllLogs()[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	assert.Equal(t, "tcp.server.source.blocked", r.EventName())
	attributes := r.Attributes().AsRaw()
	assert.InDelta(t, 600, attributes["tcp.block.ttl"], 60)
	delete(attributes, "tcp.block.ttl")
	assert.Equal(t, map[string]any{
		"security_rule.name": "login_guessing", "tcp.block.origin": "rule", "tcp.block.mode": "enforce", "tcp.block.step": int64(1),
		"tcp.block.evidence": int64(7), "tcp.block.reason": "seven wrong passwords", "client.address": "198.51.100.7",
		"tcp.source.prefix": "198.51.100.7/32", "network.type": "ipv4",
	}, attributes)
	b.eventually(func() bool { b.kernel.mu.Lock(); defer b.kernel.mu.Unlock(); return b.kernel.cuts == 1 }, "cut")

	// The same again is no other block.
	b.finding("tcp.server.threat", guessing("::ffff:198.51.100.7"))
	b.kernel.mu.Lock()
	b.kernel.counts[netip.MustParsePrefix("198.51.100.7/32")] = guard.Counts{Packets: 5, Bytes: 500}
	b.kernel.mu.Unlock()
	b.eventually(func() bool { return b.value("tcp.server.block.dropped", "security_rule.name", "login_guessing") == 5 })
	assert.EqualValues(t, 500, b.value("tcp.server.block.dropped.io", "tcp.block.origin", "rule"))
	assert.EqualValues(t, 1, b.value("tcp.server.block.entries", "tcp.block.origin", "rule"))
	assert.EqualValues(t, 1, b.value("tcp.server.block.holding"))
	b.pass(12 * time.Minute)
	b.eventually(func() bool { _, ok := b.kernel.block("198.51.100.7/32"); return !ok }, "expired")
	b.eventually(func() bool { return len(b.bodies()) == 2 })
	assert.Equal(t, "tcp.server.source.unblocked 198.51.100.7, block by rule login_guessing expired: 5 packets, 500 bytes (enforce)", b.bodies()[1])
}

func TestRefuses(t *testing.T) {
	forgeable, unmarked := guessing("198.51.100.1"), guessing("198.51.100.2")
	forgeable["tcp.threat.spoofable"] = true
	delete(unmarked, "tcp.threat.spoofable")
	nobody, other := guessing("198.51.100.3"), guessing("198.51.100.4")
	delete(nobody, "client.address")
	other["security_rule.name"] = "port_scan"
	b := newBench(t, func(c *Config) { c.Allow = []string{"203.0.113.0/24"} }).start()
	b.finding("tcp.server.threat", forgeable)
	b.finding("tcp.server.threat", unmarked)
	b.finding("tcp.server.threat", nobody)
	b.finding("their.event", guessing("198.51.100.5"))
	b.finding("tcp.server.threat", guessing("203.0.113.9"))
	b.finding("tcp.server.threat", guessing("127.0.0.1"))
	b.finding("tcp.server.threat", other)
	b.kernel.full = true
	b.finding("tcp.server.threat", guessing("198.51.100.6"))
	refused := "tcp.server.source.block_refused "
	b.tells(
		refused+"198.51.100.1 by rule login_guessing: spoofable", refused+"198.51.100.2 by rule login_guessing: spoofable",
		refused+"a source without address by rule login_guessing: no_socket_address", refused+"a source without address by rule login_guessing: no_socket_address",
		refused+"203.0.113.9 by rule login_guessing: allowed", refused+"127.0.0.1 by rule login_guessing: allowed",
		refused+"198.51.100.6 by rule login_guessing: kernel",
	)
	assert.Empty(t, b.kernel.blocks)
	for why, n := range map[string]int64{"spoofable": 2, "no_socket_address": 2, "allowed": 2, "kernel": 1, "rate_limit": 0} {
		b.eventually(func() bool { return b.value("tcp.server.block.refusals", "tcp.block.refusal", why) == n }, why)
	}
}

func TestTrustsUnmarkedRules(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Rules, c.TrustUnmarked = []string{"mine", "login_guessing"}, []string{"mine"} }).start()
	b.finding("their.event", map[string]any{"security_rule.name": "mine", "network.peer.address": "2001:db8:0:7::5", "tcp.block.ttl": 60})
	block, ok := b.kernel.block("2001:db8:0:7::/64")
	require.True(t, ok)
	assert.LessOrEqual(t, block.Left, 70*time.Second)
	// Even a trusted rule is not believed against its own mark.
	b.finding("their.event", map[string]any{"security_rule.name": "mine", "network.peer.address": "198.51.100.1", "tcp.threat.spoofable": true})
	_, ok = b.kernel.block("198.51.100.1/32")
	assert.False(t, ok)
}

func TestTellsFewRefusals(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxRefusals = 3 }).start()
	for i := range 20 {
		b.finding("tcp.server.threat", guessing(fmt.Sprintf("127.0.0.%d", i+1)))
	}
	b.eventually(func() bool { return b.value("tcp.server.block.refusals", "tcp.block.refusal", "allowed") == 20 })
	assert.Len(t, b.bodies(), 3)
	b.pass(2 * time.Minute)
	b.finding("tcp.server.threat", guessing("127.0.0.1"))
	b.eventually(func() bool { return len(b.bodies()) == 4 })
}

func TestModes(t *testing.T) {
	for mode, want := range map[string]guard.Block{modeDryRun: {DryRun: true}, modeLimit: {Limit: 100}} {
		b := newBench(t, func(c *Config) { c.Mode = mode }).start()
		b.finding("tcp.server.threat", guessing("198.51.100.7"))
		got, ok := b.kernel.block("198.51.100.7/32")
		require.True(t, ok)
		got.Left = 0
		assert.Equal(t, want, got)
		assert.Zero(t, b.kernel.cuts)
	}
	b := newBench(t, func(c *Config) { c.Mode, c.Interfaces = modeOff, nil })
	b.kernel = nil
	b.start()
	b.finding("tcp.server.threat", guessing("198.51.100.7"))
	assert.Empty(t, b.bodies())
}

// Without the kernel's part, decisions are still told, as what they are.
func TestGoesOnWithoutTheKernel(t *testing.T) {
	b := newBench(t)
	b.refuses = errors.New("CAP_BPF is missing")
	b.start()
	b.finding("tcp.server.threat", guessing("198.51.100.7"))
	b.eventually(func() bool { return len(b.bodies()) == 1 })
	assert.Contains(t, b.bodies()[0], "(dry_run)")
	b.eventually(func() bool { return b.value("tcp.server.block.holding") == 0 })
}

func TestKillFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pass")
	b := newBench(t, func(c *Config) { c.KillFile = file }).start()
	holds := func() bool { b.kernel.mu.Lock(); defer b.kernel.mu.Unlock(); return b.kernel.holds }
	b.eventually(holds)
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	b.eventually(func() bool { return !holds() })
	b.eventually(func() bool { return b.value("tcp.server.block.holding") == 0 })
	require.NoError(t, os.Remove(file))
	b.eventually(holds)
}

// A source that still sends is blocked on, one that is silent is not.
func TestProlongsWhileActive(t *testing.T) {
	b := newBench(t).start()
	b.finding("tcp.server.threat", guessing("198.51.100.7"))
	b.finding("tcp.server.threat", guessing("198.51.100.8"))
	send := func() {
		b.kernel.mu.Lock()
		defer b.kernel.mu.Unlock()
		key := netip.MustParsePrefix("198.51.100.7/32")
		c := b.kernel.counts[key]
		b.kernel.counts[key] = guard.Counts{Packets: c.Packets + 1}
	}
	for range 16 {
		b.pass(time.Minute)
		send()
		before := len(b.metrics.AllMetrics())
		b.eventually(func() bool { return len(b.metrics.AllMetrics()) > before+1 })
	}
	_, ok := b.kernel.block("198.51.100.7/32")
	assert.True(t, ok)
	b.eventually(func() bool { _, ok := b.kernel.block("198.51.100.8/32"); return !ok })
	b.eventually(func() bool { return len(b.bodies()) == 3 }, "no event for prolonging")
}

func TestStartsAgain(t *testing.T) {
	b := newBench(t).start()
	b.stop()
	assert.True(t, b.kernel.closed)
	b.finding("tcp.server.threat", guessing("198.51.100.7"))
	assert.Empty(t, b.kernel.blocks)
	for _, end := range b.ends {
		require.NoError(t, end.Start(t.Context(), componenttest.NewNopHost()))
	}
	b.finding("tcp.server.threat", guessing("198.51.100.7"))
	assert.Len(t, b.kernel.blocks, 1)
}
