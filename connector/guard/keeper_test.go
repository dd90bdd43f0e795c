// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/ebpftcp/ebpftcpreceiver/internal/control"
	"github.com/ebpftcp/ebpftcpreceiver/internal/guard"
)

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
	b.eventually(func() bool { b.kernel.mu.Lock(); defer b.kernel.mu.Unlock(); return b.kernel.cuts > 0 }, "cut")

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

// A score decides among sources that a rule suspects, and makes none, whatever a model answers.
func TestScoresNeedAFinding(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Rules = []string{"anomaly", "model/mine"} }).start()
	// A score always says that it can be forged.
	score := func(rule, address string) map[string]any {
		return map[string]any{"security_rule.name": rule, "client.address": address, "tcp.threat.spoofable": true}
	}
	forgeable := guessing("198.51.100.2")
	forgeable["tcp.threat.spoofable"] = true
	b.finding("tcp.server.threat", score("model/mine", "198.51.100.1"))
	b.finding("tcp.server.threat", score("anomaly", "198.51.100.1"))
	b.finding("tcp.server.threat", forgeable)
	b.finding("tcp.server.threat", score("model/mine", "198.51.100.2"))
	b.eventually(func() bool { return b.value("tcp.server.block.refusals", "tcp.block.refusal", "no_finding") == 3 })
	assert.Empty(t, b.kernel.blocks)

	// login_guessing itself may not block here.
	b.finding("tcp.server.threat", guessing("198.51.100.1"))
	assert.Empty(t, b.kernel.blocks)
	b.finding("tcp.server.threat", score("model/mine", "198.51.100.1"))
	_, ok := b.kernel.block("198.51.100.1/32")
	assert.True(t, ok)

	over := guessing("198.51.100.3")
	b.finding("tcp.server.threat", over)
	over["tcp.threat.state"] = "end"
	b.finding("tcp.server.threat", over)
	b.finding("tcp.server.threat", score("anomaly", "198.51.100.3"))
	_, ok = b.kernel.block("198.51.100.3/32")
	assert.False(t, ok, "the finding is over")
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

// Lists of files block and lift by themselves.
func TestFollowsLists(t *testing.T) {
	folder := t.TempDir()
	b := newBench(t, func(c *Config) {
		c.Rules, c.BlockFiles, c.AllowFiles = nil, []string{filepath.Join(folder, "block.*")}, []string{filepath.Join(folder, "allow")}
	}).start()
	list := filepath.Join(folder, "block.mine")
	write := func(name, text string) {
		t.Helper()
		require.NoError(t, os.WriteFile(name+"~", []byte(text), 0o600))
		require.NoError(t, os.Rename(name+"~", name))
	}
	blocked := func(key string) func() bool { return func() bool { _, ok := b.kernel.block(key); return ok } }
	write(filepath.Join(folder, "allow"), "198.51.100.9\n")
	write(list, "198.51.100.7\njunk\n203.0.113.0/24 # theirs\n2001:db8:0:7::1 1h\n")
	for _, key := range []string{"198.51.100.7/32", "203.0.113.0/24", "2001:db8:0:7::/64"} {
		b.eventually(blocked(key), key)
	}
	block, _ := b.kernel.block("198.51.100.7/32")
	assert.Zero(t, block.Left)
	// A part of a block that is allowed asks the list, and an allowed source is none.
	write(filepath.Join(folder, "allow"), "198.51.100.7\n203.0.113.5\n")
	b.eventually(func() bool { _, ok := b.kernel.block("198.51.100.7/32"); return !ok }, "allowed")
	b.eventually(func() bool { block, _ := b.kernel.block("203.0.113.0/24"); return block.HasAllowed })
	require.NoError(t, os.Remove(list))
	b.eventually(func() bool { b.kernel.mu.Lock(); defer b.kernel.mu.Unlock(); return len(b.kernel.blocks) == 0 }, "gone")
}

// Until it is known who stands for many, rules only count; and those who do are not blocked.
func TestSparesWhoStandsForMany(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Shares.Enabled, c.Shares.Window, c.Rules = true, 10*time.Second, []string{"login_guessing"}
	}).start()
	b.finding("tcp.server.threat", guessing("198.51.100.7"))
	dryRun := func() bool { block, _ := b.kernel.block("198.51.100.7/32"); return block.DryRun }
	assert.True(t, dryRun())
	// Nobody knows yet that it stands for many.
	b.finding("tcp.server.threat", guessing("192.0.2.9"))
	_, ok := b.kernel.block("192.0.2.9/32")
	assert.True(t, ok)
	close := func(address string, id int) {
		b.finding("tcp.server.connection.close", map[string]any{
			"client.address": address, "tcp.connection.id": fmt.Sprint(id), "tcp.close.reason": "client_fin",
			"tcp.received.bytes": 100, "tcp.sent.bytes": 100,
		})
	}
	for i := range 20 {
		b.pass(time.Second)
		for j := range 10 {
			close(fmt.Sprintf("203.0.113.%d", (10*i+j)%40), 10*i+j)
		}
		for j := range 5 {
			close("192.0.2.9", 1000+5*i+j)
		}
	}
	b.eventually(func() bool { return !dryRun() }, "enforced")
	_, ok = b.kernel.block("192.0.2.9/32")
	assert.False(t, ok, "a dry run becomes no block without another look")
	b.finding("tcp.server.threat", guessing("192.0.2.9"))
	_, ok = b.kernel.block("192.0.2.9/32")
	assert.False(t, ok)
	b.eventually(func() bool { return b.value("tcp.server.block.refusals", "tcp.block.refusal", "shared") == 1 })
	// Records stop: rules only count again.
	b.pass(time.Minute)
	b.eventually(dryRun)
}

// memory is a storage extension and its client.
type memory struct {
	component.StartFunc
	component.ShutdownFunc
	mu    sync.Mutex
	state map[string][]byte
}

func (m *memory) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.MustNewID("memory"): m}
}

func (m *memory) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return m, nil
}

func (m *memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state[key], nil
}

func (m *memory) Set(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state[key] = value
	return nil
}

func (m *memory) Delete(context.Context, string) error               { return nil }
func (m *memory) Batch(context.Context, ...*storage.Operation) error { return nil }
func (m *memory) Close(context.Context) error                        { return nil }

// After a restart blocks are there again, without a second event.
func TestOutlivesARestart(t *testing.T) {
	id := component.MustNewID("memory")
	store := &memory{state: map[string][]byte{}}
	b := newBench(t, func(c *Config) { c.Storage = &id })
	b.host = store
	b.start()
	b.finding("tcp.server.threat", guessing("198.51.100.7"))
	before, _ := b.kernel.block("198.51.100.7/32")
	b.eventually(func() bool { store.mu.Lock(); defer store.mu.Unlock(); return len(store.state) == 1 }, "stored while it runs")
	b.stop()
	told := len(b.bodies())
	b.kernel.blocks = map[netip.Prefix]guard.Block{}
	b.pass(time.Minute)
	for _, end := range b.ends {
		require.NoError(t, end.Start(t.Context(), store))
	}
	after, ok := b.kernel.block("198.51.100.7/32")
	require.True(t, ok)
	assert.InDelta(t, before.Left-time.Minute, after.Left, float64(time.Second))
	assert.Len(t, b.bodies(), told)
}

// A person lists, blocks and lifts, and nobody is told less than by a rule.
func TestObeysAPerson(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	b := newBench(t, func(c *Config) { c.Socket = path }).start()
	ask := func(words ...string) (a control.Answer) {
		t.Helper()
		a, err := control.Ask(path, control.Question{Command: words[0], Arguments: words[1:]})
		require.NoError(t, err)
		return a
	}
	assert.Equal(t, control.Answer{Lines: []string{"198.51.100.7/32 blocked for 1m0s by operator by hand"}}, ask("block", "198.51.100.7", "1m"))
	_, ok := b.kernel.block("198.51.100.7/32")
	assert.True(t, ok)
	b.finding("tcp.server.threat", guessing("198.51.100.7"))
	assert.Len(t, ask("list").Lines, 2)
	assert.Len(t, ask("why", "198.51.100.7").Lines, 2)
	assert.Equal(t, []string{"198.51.100.8 neither allowed nor blocked"}, ask("why", "198.51.100.8").Lines)
	assert.Contains(t, ask("why", "127.0.0.1").Lines[0], " allowed: ")
	assert.Contains(t, ask("block", "127.0.0.1").Error, "is allowed")
	assert.Contains(t, ask("block", "127.0.0.x").Error, "127.0.0.x")
	assert.Contains(t, ask("shoot", "198.51.100.7").Error, "use: list")
	assert.Equal(t, []string{"lifted 2 blocks"}, ask("unblock", "198.51.100.7").Lines)
	_, ok = b.kernel.block("198.51.100.7/32")
	assert.False(t, ok)
	ask("block", "203.0.113.0/24")
	assert.Equal(t, []string{"lifted 1 blocks"}, ask("flush").Lines)
	assert.Empty(t, ask("list").Lines)
	b.eventually(func() bool { return len(b.bodies()) == 6 })
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
