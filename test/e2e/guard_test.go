// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// guarded is a collector with receiver, rules and guard, beside an nginx that logs who asks.
type guarded struct {
	*judged
	// neighbour is another address of the attacker's host.
	neighbour netip.Addr
	asked     string
}

// guarding is how a collector guards: lines of the guard, of the rules and of the receiver, indented by
// four.
type guarding struct {
	guard, threats, receiver string
	// storage is a folder for what outlives a restart; empty for none.
	storage string
}

// noShares is for tests that don't wait until it is known who stands for many.
const noShares = "    shares: {enabled: false}\n"

// startGuarded has keys of the guard and of the receiver.
func startGuarded(t *testing.T, guard, receiver string) *guarded {
	t.Helper()
	g := newGuarded(t)
	g.start(t, guarding{guard: noShares + guard, receiver: receiver})
	return g
}

// newGuarded is the network, without a collector.
func newGuarded(t *testing.T) *guarded {
	t.Helper()
	n := newNetwork(t)
	g := &guarded{judged: &judged{network: n, out: startSink(t, n.server)}, neighbour: nth(n.Client4, 50)}
	g.client.ip(t, fmt.Sprintf("addr add %s/24 dev eth0", g.neighbour))
	t.Cleanup(func() {
		if t.Failed() {
			for _, r := range g.events(t, "") {
				t.Log(r.body)
			}
		}
	})
	return g
}

func (g *guarded) start(t *testing.T, of guarding) {
	t.Helper()
	extensions, enabled := "", ""
	if of.storage != "" {
		of.guard += "    storage: file_storage\n"
		extensions, enabled = fmt.Sprintf("extensions:\n  file_storage: {directory: %s}\n", of.storage), "  extensions: [file_storage]\n"
	}
	g.agent = startCollector(t, g.server, "guarded", fmt.Sprintf(`
receivers:
  otlp: {protocols: {http: {endpoint: 127.0.0.1:4318}}}
  ebpf_tcp:
    connections: {scope: host}
    sources: {enabled: true}
%s%s
connectors:
  ebpf_tcp_threats:
%s
  ebpf_tcp_guard:
    interfaces: [eth0]
    metrics_interval: 200ms
%s
exporters:
  otlp_grpc: {endpoint: %s, tls: {insecure: true}}
%sservice:
%s  pipelines:
    logs: {receivers: [ebpf_tcp], exporters: [ebpf_tcp_threats, ebpf_tcp_guard, otlp_grpc]}
    logs/threats: {receivers: [ebpf_tcp_threats, otlp], exporters: [ebpf_tcp_guard, otlp_grpc]}
    logs/guard: {receivers: [ebpf_tcp_guard], exporters: [otlp_grpc]}
    metrics/guard: {receivers: [ebpf_tcp_guard], exporters: [otlp_grpc]}
`, excludedHooks(), of.receiver, of.threats, of.guard, g.out.endpoint, extensions, enabled))
}

// startNginx has so many connections at a time, a page for all, and one for those who know the
// password.
func (g *guarded) startNginx(t *testing.T, connections int) {
	t.Helper()
	folder := t.TempDir()
	users := filepath.Join(folder, "users")
	g.asked = filepath.Join(folder, "asked")
	require.NoError(t, os.WriteFile(users, []byte("admin:{PLAIN}unguessable\n"), 0o600))
	web, err := lab.StartWebServer(t.Context(), g.server.Namespace, lab.WebConfiguration{
		Main: "user root; worker_processes 1;",
		HTTP: fmt.Sprintf(`
	log_format who $remote_addr;
	server {
		listen 80;
		listen [::]:80;
		access_log %s who;
		location / { return 200 %q; }
		location /private { auth_basic private; auth_basic_user_file %s; }
	}`, g.asked, nginxBody, users),
		Connections: connections, Port: 80,
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, web.Close()) })
}

// requests are those that nginx had from an address.
func (g *guarded) requests(t *testing.T, from netip.Addr) (n int) {
	t.Helper()
	text, err := os.ReadFile(g.asked)
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if strings.TrimSpace(line) == from.String() {
			n++
		}
	}
	return n
}

// events are the guard's records so far.
func (g *guarded) events(t *testing.T, name string) []record {
	t.Helper()
	return g.out.records(t, func(r record) bool {
		what, ok := strings.CutPrefix(r.event, "tcp.server.source.")
		return ok && (name == "" || what == name)
	})
}

// blocks waits for the block of the attacker.
func (g *guarded) blocks(t *testing.T, rule, mode string) record {
	t.Helper()
	require.Eventually(t, func() bool { return len(g.events(t, "blocked")) > 0 }, settle, tick)
	blocked := g.events(t, "blocked")[0]
	assert.Equal(t, g.Client4.String(), blocked.values["client.address"])
	assert.Equal(t, rule, blocked.values["security_rule.name"])
	assert.Equal(t, mode, blocked.values["tcp.block.mode"])
	return blocked
}

// dropped is what the metric says.
func (g *guarded) dropped(t *testing.T) float64 {
	t.Helper()
	latest := 0.0
	for _, p := range g.out.points(t, func(p point) bool { return p.metric == "tcp.server.block.dropped" }) {
		latest = max(latest, p.value)
	}
	return latest
}

// visitor asks for the page for all, from the neighbour's address, until it is stopped.
type visitor struct {
	served, failed atomic.Int64
	// why is the last failure.
	why  atomic.Value
	stop context.CancelFunc
	done sync.WaitGroup
}

func (g *guarded) visit(t *testing.T) *visitor {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	v := &visitor{stop: cancel}
	dial := func(ctx context.Context, network, to string) (conn net.Conn, err error) {
		err = g.client.Do(func() error {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: g.neighbour.AsSlice()}}
			var err error
			conn, err = dialer.DialContext(ctx, network, to)
			return err
		})
		return conn, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	v.done.Go(func() {
		for ctx.Err() == nil {
			answer, err := client.Get(fmt.Sprintf("http://%s/", g.Server4))
			if err == nil {
				_ = answer.Body.Close()
				v.served.Add(1)
			} else if ctx.Err() == nil {
				v.failed.Add(1)
				v.why.Store(err.Error())
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	t.Cleanup(v.end)
	return v
}

func (v *visitor) end() {
	v.stop()
	v.done.Wait()
}

// TestGuardStopsGuessing: once hydra is blocked, nginx hears nothing of it, and its neighbour is
// served all the time. In a dry run nothing changes but the counts.
func TestGuardStopsGuessing(t *testing.T) {
	for _, mode := range []string{"enforce", "dry_run"} {
		t.Run(mode, func(t *testing.T) {
			needing(t, "refused")
			g := startGuarded(t, fmt.Sprintf("    mode: %s\n    rules: [http_auth]\n", mode), "    inspect: {http: {ports: [80]}}\n")
			g.startNginx(t, 512)
			visitor := g.visit(t)
			g.attack(t, "hydra", "-I", "-q", "-l", "admin", "-P", passwords(t, 3000), fmt.Sprintf("http-get://%s/private", g.Server4))
			g.blocks(t, "http_auth", mode)
			at := g.requests(t, g.Client4)
			require.Eventually(t, func() bool { return g.dropped(t) >= 10 }, settle, tick)
			if mode == "enforce" {
				assert.Equal(t, at, g.requests(t, g.Client4), "requests of the attacker after its block")
			} else {
				require.Eventually(t, func() bool { return g.requests(t, g.Client4) > at+100 }, settle, tick)
			}
			visitor.end()
			assert.Zero(t, visitor.failed.Load())
			assert.Greater(t, visitor.served.Load(), int64(10))
			require.Len(t, g.events(t, "blocked"), 1)
		})
	}
}

// TestGuardEndsSlowAttacks: with all connections of nginx taken, a neighbour is served again soon
// after slow_hold has found that, because they are ended, too. It is known who stands for many.
func TestGuardEndsSlowAttacks(t *testing.T) {
	needing(t, "live")
	g := newGuarded(t)
	g.start(t, guarding{guard: "    mode: enforce\n    rules: [slow_hold]\n    shares: {window: 2s}\n"})
	g.startNginx(t, 128)
	visitor := g.visit(t)
	require.Eventually(t, func() bool { return visitor.served.Load() > 60 }, settle, tick)
	// The rule wants a service that usually answers: nginx turns new connections away when it has no more.
	g.client.run(t, "ab", "-q", "-n", "3000", "-c", "10", "-B", g.neighbour.String(), fmt.Sprintf("http://%s/", g.Server4))
	g.attack(t, "slowhttptest", "-H", "-c", "400", "-i", "5", "-r", "200", "-l", "120", "-p", "3", "-u", fmt.Sprintf("http://%s/", g.Server4))
	require.Eventually(t, func() bool { return visitor.failed.Load() > 1 }, settle, tick, "nginx is unreachable")
	require.Eventually(t, func() bool { return len(g.threats(t, "begin")) > 0 }, settle, tick)
	since, begin := visitor.served.Load(), time.Now()
	g.blocks(t, "slow_hold", "enforce")
	require.Eventually(t, func() bool { return visitor.served.Load() > since }, settle, tick, "served again")
	t.Logf("served again %s after the finding", time.Since(begin))
	cut, err := g.agent.Sum(t.Context(), "otelcol_ebpf_tcp_guard_cut")
	require.NoError(t, err)
	assert.Positive(t, cut)
}

// TestGuardHoldsNothingWithoutItsOwner: a stopped collector opens the guard, and so does a killed
// one.
func TestGuardHoldsNothingWithoutItsOwner(t *testing.T) {
	needing(t, "refused")
	g := startGuarded(t, "    mode: enforce\n    rules: [http_auth]\n    fail_open_after: 3s\n", "    inspect: {http: {ports: [80]}}\n")
	g.startNginx(t, 512)
	g.attack(t, "hydra", "-I", "-q", "-l", "admin", "-P", passwords(t, 3000), fmt.Sprintf("http-get://%s/private", g.Server4))
	g.blocks(t, "http_auth", "enforce")
	served := func() bool {
		_, err := g.client.Run(t.Context(), "curl", "-s", "--max-time", "1", "-o", "/dev/null", fmt.Sprintf("http://%s/", g.Server4))
		return err == nil
	}
	assert.False(t, served())
	g.agent.Signal(syscall.SIGSTOP)
	defer g.agent.Signal(syscall.SIGCONT)
	require.Eventually(t, served, settle, tick, "opened")
}
