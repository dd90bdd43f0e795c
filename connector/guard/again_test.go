// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector/connectortest"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/saved"
	"github.com/ebpftcp/ebpftcpreceiver/internal/control"
	"github.com/ebpftcp/ebpftcpreceiver/internal/guard"
)

// replace writes a file as lists are to be written.
func replace(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(name+"~", []byte(text), 0o600))
	require.NoError(t, os.Rename(name+"~", name))
}

func (b *bench) blocked(key string) func() bool {
	return func() bool { _, ok := b.kernel.block(key); return ok }
}

func (b *bench) free(key string) func() bool {
	return func() bool { _, ok := b.kernel.block(key); return !ok }
}

// Who is allowed for a while is blocked again afterwards, if a list still has it.
func TestListsComeBackAfterAnAllow(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := `{"new":null,"deleted":null}`
		if r.URL.Query().Get("startup") == "true" {
			answer = `{"new":[{"id":1,"origin":"cscli","type":"ban","scope":"Ip","value":"198.51.100.9","duration":"4h","scenario":"x"}],"deleted":null}`
		}
		_, err := w.Write([]byte(answer))
		assert.NoError(t, err)
	}))
	defer api.Close()
	folder := t.TempDir()
	allow, list := filepath.Join(folder, "allow"), filepath.Join(folder, "block")
	replace(t, list, "198.51.100.7\n")
	b := newBench(t, func(c *Config) {
		c.AllowFiles, c.BlockFiles = []string{allow}, []string{list}
		// No answer of the API comes within the test.
		c.CrowdSec.Client.Endpoint, c.CrowdSec.Key, c.CrowdSec.Interval = api.URL, "secret", time.Hour
	}).start()
	keys := []string{"198.51.100.7/32", "198.51.100.9/32"}
	for _, key := range keys {
		b.eventually(b.blocked(key), key)
	}
	replace(t, allow, "198.51.100.7\n198.51.100.9\n")
	for _, key := range keys {
		b.eventually(b.free(key), key)
	}
	replace(t, allow, "198.51.100.8\n")
	for _, key := range keys {
		b.eventually(b.blocked(key), key)
	}
}

// An entry of a list that is allowed is counted and told once, however often the allow-list changes.
func TestToldOnceThatAListedSourceIsAllowed(t *testing.T) {
	folder := t.TempDir()
	allow, list := filepath.Join(folder, "allow"), filepath.Join(folder, "block")
	replace(t, allow, "198.51.100.7\n")
	replace(t, list, "198.51.100.7\n198.51.100.8\n")
	b := newBench(t, func(c *Config) { c.AllowFiles, c.BlockFiles = []string{allow}, []string{list} }).start()
	b.eventually(b.blocked("198.51.100.8/32"))
	refused := func(n int64) func() bool {
		return func() bool { return b.value("tcp.server.block.refusals", "tcp.block.refusal", "allowed") == n }
	}
	b.eventually(refused(1))
	replace(t, allow, "198.51.100.7\n198.51.100.8\n")
	b.eventually(b.free("198.51.100.8/32"))
	b.eventually(refused(2))
	// The other entry comes back because the list is decided again.
	replace(t, allow, "198.51.100.7\n")
	b.eventually(b.blocked("198.51.100.8/32"))
	measured := len(b.metrics.AllMetrics())
	b.eventually(func() bool { return len(b.metrics.AllMetrics()) > measured+1 })
	assert.True(t, refused(2)())
	refusals := 0
	for _, body := range b.bodies() {
		if strings.Contains(body, "block_refused") {
			refusals++
		}
	}
	assert.Equal(t, 2, refusals)
}

func (b *bench) ask(path string, q control.Question) control.Answer {
	b.t.Helper()
	a, err := control.Ask(path, q)
	require.NoError(b.t, err)
	return a
}

// An entry of a list that a person lifts stays away while the list has it.
func TestLiftsEntriesOfLists(t *testing.T) {
	folder := t.TempDir()
	path, list := filepath.Join(folder, "socket"), filepath.Join(folder, "block")
	replace(t, list, "198.51.100.7\n198.51.100.8\n")
	b := newBench(t, func(c *Config) { c.BlockFiles, c.Socket = []string{list}, path }).start()
	b.eventually(b.blocked("198.51.100.7/32"))
	assert.Equal(t, []string{"lifted 1 blocks"}, b.ask(path, control.Question{Command: "unblock", Arguments: []string{"198.51.100.7"}}).Lines)
	replace(t, list, "198.51.100.7\n198.51.100.9\n")
	b.eventually(b.blocked("198.51.100.9/32"))
	assert.True(t, b.free("198.51.100.7/32")())
	replace(t, list, "198.51.100.9\n")
	b.eventually(b.free("198.51.100.8/32"))
	b.eventually(func() bool {
		k := b.ends[0].(*toLogs).Unwrap()
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.byHand.Len() == 0
	})
	replace(t, list, "198.51.100.7\n198.51.100.9\n")
	b.eventually(b.blocked("198.51.100.7/32"), "listed again")
}

// A person is not cut off by a command without having asked for that.
func TestProtectsThePersonWhoAsks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	b := newBench(t, func(c *Config) { c.Socket = path }).start()
	for _, network := range []string{"198.51.100.7", "198.51.100.0/24", "0.0.0.0/0", "::ffff:198.51.100.7"} {
		q := control.Question{Command: "block", Arguments: []string{network}, From: "198.51.100.7"}
		assert.Contains(t, b.ask(path, q).Error, "-force", network)
	}
	q := control.Question{Command: "block", Arguments: []string{"2001:db8::8"}, From: "2001:db8::7"}
	assert.Contains(t, b.ask(path, q).Error, "you are logged in from 2001:db8::7")
	assert.Empty(t, b.kernel.blocks)
	q.Force = true
	assert.Len(t, b.ask(path, q).Lines, 1)
	q = control.Question{Command: "block", Arguments: []string{"127.0.0.1"}, Force: true}
	assert.Contains(t, b.ask(path, q).Error, "is allowed", "that beats everything")
}

// What only a dry run has blocked is not blocked by a restart in another mode.
func TestDryRunsBlockNothingLater(t *testing.T) {
	id := component.MustNewID("memory")
	store := &memory{state: map[string][]byte{}}
	path := filepath.Join(t.TempDir(), "socket")
	run := func(mode string) *bench {
		b := newBench(t, func(c *Config) { c.Storage, c.Mode, c.Socket = &id, mode, path })
		b.host = store
		return b.start()
	}
	b := run(modeDryRun)
	b.finding("tcp.server.threat", guessing("198.51.100.7"))
	b.ask(path, control.Question{Command: "block", Arguments: []string{"198.51.100.8"}})
	b.stop()
	b = run(modeDryRun)
	assert.True(t, b.blocked("198.51.100.7/32")())
	b.stop()
	b = run(modeEnforce)
	assert.True(t, b.free("198.51.100.7/32")())
	assert.True(t, b.blocked("198.51.100.8/32")(), "a person has asked for it")
	b.finding("tcp.server.threat", guessing("198.51.100.7"))
	b.stop()
	b = run(modeEnforce)
	assert.True(t, b.blocked("198.51.100.7/32")())
}

// A start in which the kernel refuses the guard forgets no block, and makes none of what was only tried.
func TestARefusingKernelKeepsTheBlocks(t *testing.T) {
	id := component.MustNewID("memory")
	for mode, want := range map[string]bool{modeEnforce: true, modeLimit: true, modeDryRun: false} {
		store := &memory{state: map[string][]byte{}}
		run := func(mode string, refuses error) *bench {
			b := newBench(t, func(c *Config) { c.Storage, c.Mode = &id, mode })
			b.host, b.refuses = store, refuses
			return b.start()
		}
		b := run(mode, nil)
		b.finding("tcp.server.threat", guessing("198.51.100.7"))
		b.stop()
		run(modeEnforce, errors.New("CAP_BPF is missing")).stop()
		b = run(modeEnforce, nil)
		assert.Equal(t, want, b.blocked("198.51.100.7/32")(), mode)
	}
}

// What can be forged blocks where that is asked for, for a short time, and nobody who was served well.
func TestBlocksByWhatCanBeForged(t *testing.T) {
	id := component.MustNewID("memory")
	store := &memory{state: map[string][]byte{}}
	run := func() *bench {
		b := newBench(t, func(c *Config) {
			c.Rules, c.Shares.Enabled, c.Storage = []string{"port_scan"}, true, &id
			c.BlockSpoofable.Rules, c.BlockSpoofable.Interfaces = []string{"port_scan"}, []string{"eth0"}
			c.TTL = time.Hour
		})
		b.host = store
		return b.start()
	}
	scan := func(address string) map[string]any {
		scan := guessing(address)
		scan["security_rule.name"], scan["tcp.threat.spoofable"] = "port_scan", true
		return scan
	}
	b := run()
	b.finding("tcp.server.threat", scan("198.51.100.7"))
	assert.True(t, b.free("198.51.100.7/32")(), "it may have been served before the start")
	b.pass(24 * time.Hour)
	b.finding("tcp.server.connection.close", map[string]any{
		"client.address": "198.51.100.8", "tcp.connection.id": "1", "tcp.close.reason": "client_fin",
		"tcp.receive.size": 100, "tcp.transmit.size": 100,
	})
	b.finding("tcp.server.threat", scan("198.51.100.7"))
	b.finding("tcp.server.threat", scan("198.51.100.8"))
	block, ok := b.kernel.block("198.51.100.7/32")
	require.True(t, ok)
	assert.LessOrEqual(t, block.Left, 10*time.Minute)
	assert.True(t, b.free("198.51.100.8/32")())
	b.eventually(func() bool { return b.value("tcp.server.block.refusals", "tcp.block.refusal", "served_well") == 2 })
	b.stop()

	b = run()
	b.finding("tcp.server.threat", scan("198.51.100.8"))
	assert.True(t, b.free("198.51.100.8/32")(), "that outlives a restart")
	b.finding("tcp.server.threat", scan("198.51.100.9"))
	assert.True(t, b.blocked("198.51.100.9/32")())
}

// A model blocks alone if it is trusted to: who has proven its address, is high for long enough, and
// is neither allowed nor shared. At first that only counts.
func TestModelsAlone(t *testing.T) {
	id := component.MustNewID("memory")
	store := &memory{state: map[string][]byte{}}
	run := func() *bench {
		b := newBench(t, func(c *Config) {
			c.Rules, c.Storage, c.Allow = []string{"model/mine", "model/other", "anomaly"}, &id, []string{"203.0.113.0/24"}
			c.Models.Alone, c.Models.DryRunFirst = []string{"mine"}, time.Hour
		})
		b.host = store
		return b.start()
	}
	score := func(b *bench, rule, address string, proven bool, windows int) {
		b.finding("tcp.server.threat", map[string]any{
			"security_rule.name": rule, "client.address": address, "tcp.threat.spoofable": true,
			"tcp.threat.proven": proven, "tcp.threat.windows": windows,
		})
	}
	b := run()
	score(b, "model/mine", "198.51.100.1", true, 2)
	score(b, "model/mine", "198.51.100.2", false, 3)
	score(b, "model/other", "198.51.100.3", true, 3)
	score(b, "anomaly", "198.51.100.4", true, 3)
	score(b, "model/mine", "203.0.113.1", true, 3)
	assert.Empty(t, b.kernel.blocks)
	for why, n := range map[string]int64{"few_windows": 1, "not_proven": 1, "no_finding": 2, "allowed": 1} {
		b.eventually(func() bool { return b.value("tcp.server.block.refusals", "tcp.block.refusal", why) == n }, why)
	}
	score(b, "model/mine", "198.51.100.5", true, 3)
	block, ok := b.kernel.block("198.51.100.5/32")
	require.True(t, ok)
	assert.True(t, block.DryRun)
	b.eventually(func() bool { return len(b.bodies()) == 6 })
	assert.Contains(t, b.bodies()[5], "(dry_run)")
	b.pass(40 * time.Minute)
	b.eventually(b.free("198.51.100.5/32"), "expired")
	b.stop()

	b = run()
	score(b, "model/mine", "198.51.100.5", true, 3)
	assert.True(t, b.blocked("198.51.100.5/32")())
	b.pass(25 * time.Minute)
	b.eventually(b.free("198.51.100.5/32"), "the trial is over")
	score(b, "model/mine", "198.51.100.5", true, 3)
	block, ok = b.kernel.block("198.51.100.5/32")
	require.True(t, ok)
	assert.False(t, block.DryRun)
}

func TestForgeableNeedsAllInterfaces(t *testing.T) {
	cfg := createDefaultConfig()
	cfg.Interfaces, cfg.Rules = []string{"eth0", "eth1"}, []string{"port_scan"}
	cfg.BlockSpoofable.Rules, cfg.BlockSpoofable.Interfaces = []string{"port_scan", "mine"}, []string{"eth0"}
	cfg.Shares.Enabled = false
	for _, text := range []string{
		`block_spoofable::interfaces: lacks "eth1"`, `block_spoofable::rules[1]: "mine" is not one of rules`, "block_spoofable::rules: needs shares::enabled",
	} {
		assert.ErrorContains(t, cfg.Validate(), text)
	}
}

// Changes of a large list are counted, and no records.
func TestLargeListsAreQuiet(t *testing.T) {
	list := filepath.Join(t.TempDir(), "block")
	var text strings.Builder
	for i := range 150 {
		fmt.Fprintf(&text, "198.51.100.%d\n", i)
	}
	replace(t, list, text.String())
	b := newBench(t, func(c *Config) { c.BlockFiles = []string{list} }).start()
	b.eventually(b.blocked("198.51.100.149/32"))
	assert.Empty(t, b.bodies())
	quiet := uint64(0)
	k := b.ends[0].(*toLogs).Unwrap()
	k.mu.Lock()
	k.outlet.Undelivered(func(reason string, n uint64) {
		if reason == "list" {
			quiet = n
		}
	})
	k.mu.Unlock()
	assert.EqualValues(t, 150, quiet)
}

// slowKernel takes its time to end connections.
type slowKernel struct {
	*fakeKernel
	cutting atomic.Bool
	let     chan struct{}
}

func (s *slowKernel) Cut() (int, error) {
	s.cutting.Store(true)
	<-s.let
	return 0, nil
}

// Decisions and the deadline wait for nobody who ends connections.
func TestNobodyWaitsForCuts(t *testing.T) {
	b := newBench(t)
	slow := &slowKernel{fakeKernel: b.kernel, let: make(chan struct{})}
	defer close(slow.let)
	b.factory = newFactory(machine{
		open: func(guard.Options) (kernel, error) { return slow, nil },
		boot: func() time.Duration { return time.Hour }, wall: time.Now,
	})
	b.start()
	b.finding("tcp.server.threat", guessing("198.51.100.6"))
	b.eventually(slow.cutting.Load)
	b.finding("tcp.server.threat", guessing("198.51.100.7"))
	assert.True(t, b.blocked("198.51.100.7/32")())
	require.NoError(t, b.kernel.LetPass())
	b.eventually(func() bool { b.kernel.mu.Lock(); defer b.kernel.mu.Unlock(); return b.kernel.holds }, "renewed")
}

// Decisions wait for no file of the host that a snapshot needs.
func TestStoresWithoutReadingTheHostUnderTheLock(t *testing.T) {
	b := newBench(t)
	k := newKeeper(b.cfg, connectortest.NewNopSettings(metadata.Type), machine{boot: func() time.Duration { return time.Hour }, wall: time.Now})
	require.NoError(t, k.begin())
	store := &memory{state: map[string][]byte{}}
	k.client, k.changed = store, true
	asked := 0
	k.host.boot = func() time.Duration {
		asked++
		if assert.True(t, k.mu.TryLock(), "locked") {
			k.mu.Unlock()
		}
		return time.Hour
	}
	k.save(t.Context())
	k.saveKnown(t.Context(), 0)
	assert.NotZero(t, asked)
	assert.NotEmpty(t, store.state[saved.Key])
}
