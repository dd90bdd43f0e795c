// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	tool "github.com/ebpftcp/ebpftcpreceiver/internal/control"
)

// askGuard asks the guard, as the tool does.
func askGuard(t *testing.T, socket, command string, arguments ...string) []string {
	t.Helper()
	a, err := tool.Ask(socket, tool.Question{Command: command, Arguments: arguments})
	require.NoError(t, err)
	require.Empty(t, a.Error)
	return a.Lines
}

// held are the blocked sources.
func held(t *testing.T, socket string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, line := range askGuard(t, socket, "list") {
		source, _, _ := strings.Cut(line, " ")
		all[source] = true
	}
	return all
}

// find has findings of somebody else's, by OTLP: of n sources of 100.64.0.0/10 from the first on, each
// for so many seconds.
func (g *guarded) find(t *testing.T, first, n, ttl int) {
	t.Helper()
	var records []string
	for i := first; i < first+n; i++ {
		records = append(records, fmt.Sprintf(`{"attributes": [{"key": "security_rule.name", "value": {"stringValue": "mine"}},
			{"key": "network.peer.address", "value": {"stringValue": "100.64.%d.%d"}}, {"key": "tcp.block.ttl", "value": {"intValue": %d}}]}`, i/256, i%256, ttl))
	}
	body := fmt.Sprintf(`{"resourceLogs": [{"scopeLogs": [{"logRecords": [%s]}]}]}`, strings.Join(records, ","))
	require.NoError(t, g.server.Do(func() error {
		// It connects on a thread of its own, which is in another namespace.
		conn, err := net.Dial("tcp", "127.0.0.1:4318")
		if err != nil {
			return err
		}
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		}}
		answer, err := client.Post("http://127.0.0.1:4318/v1/logs", "application/json", strings.NewReader(body))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", answer.StatusCode)
		}
		return nil
	}))
}

// written is when something in the folder was written last.
func written(t *testing.T, folder string) (last time.Time) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// TestGuardOutlivesAKill: the collector is killed with 10,000 blocks, of which 2,000 end meanwhile. The
// others are back, and nobody is told again.
func TestGuardOutlivesAKill(t *testing.T) {
	g := newGuarded(t)
	socket := filepath.Join(t.TempDir(), "socket")
	of := guarding{
		guard:   noShares + fmt.Sprintf("    mode: enforce\n    rules: [mine]\n    trust_unmarked: [mine]\n    max_blocks: 100000\n    socket: %s\n", socket),
		storage: t.TempDir(),
	}
	g.start(t, of)
	for first := 0; first < 8000; first += 2000 {
		g.find(t, first, 2000, 3600)
	}
	const short = 8
	ends := time.Now().Add(short * time.Second)
	g.find(t, 8000, 2000, short)
	require.Len(t, held(t, socket), 10_000)
	// One change more, so that all before it is stored. What follows dies unstored, perhaps.
	before := time.Now()
	g.find(t, 10_000, 1, 3600)
	require.Eventually(t, func() bool { return written(t, of.storage).After(before) }, time.Minute, 50*time.Millisecond, "stored")
	g.find(t, 10_001, 99, 3600)
	g.agent.Signal(syscall.SIGKILL)
	<-g.agent.Ended()
	g.agent.stopped = true
	told := len(g.events(t, "blocked"))
	time.Sleep(time.Until(ends))
	g.start(t, of)
	back := held(t, socket)
	for i := range 8000 {
		require.True(t, back[fmt.Sprintf("100.64.%d.%d/32", i/256, i%256)], i)
	}
	for i := 8000; i < 10_000; i++ {
		require.False(t, back[fmt.Sprintf("100.64.%d.%d/32", i/256, i%256)], i)
	}
	assert.LessOrEqual(t, len(back), 8100)
	assert.Len(t, g.events(t, "blocked"), told, "a second event")
	g.agent.Signal(syscall.SIGHUP)
	require.Eventually(t, func() bool { starts, err := g.agent.Starts(); return err == nil && starts == 2 }, settle, tick, "reloaded")
	assert.Equal(t, back, held(t, socket))
	g.find(t, 0, 100, 3600)
	assert.Len(t, g.events(t, "blocked"), told, "known already")
}

// TestGuardLoadsListsWithoutAGap: while lists of 100,000 networks come and go, an innocent client is
// answered all the time, and a blocked one never is.
func TestGuardLoadsListsWithoutAGap(t *testing.T) {
	g := newGuarded(t)
	folder := t.TempDir()
	socket, list := filepath.Join(folder, "socket"), filepath.Join(folder, "block")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "always"), fmt.Appendln(nil, g.neighbour), 0o600))
	g.start(t, guarding{guard: noShares + fmt.Sprintf("    mode: enforce\n    socket: %s\n    block_files: [%s, %s]\n", socket, list, filepath.Join(folder, "always"))})
	listener := g.listenInside(t, 8080)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer := make([]byte, 1)
				for {
					if _, err := conn.Read(buffer); err != nil {
						return
					}
					if _, err := conn.Write(buffer); err != nil {
						return
					}
				}
			}()
		}
	}()
	require.Eventually(t, func() bool { return held(t, socket)[g.neighbour.String()+"/32"] }, settle, tick)
	probe := g.probe(t)
	blocked := func(address string) bool {
		return strings.Contains(askGuard(t, socket, "why", address)[0], " blocked ")
	}
	for round := range 2 {
		var text strings.Builder
		for i := range 100_000 {
			fmt.Fprintf(&text, "%d.%d.%d.0/24\n", 20+2*round+i/65536, i/256%256, i%256)
		}
		require.NoError(t, os.WriteFile(list+"~", []byte(text.String()), 0o600))
		require.NoError(t, os.Rename(list+"~", list))
		require.Eventually(t, func() bool { return blocked(fmt.Sprintf("%d.134.159.1", 21+2*round)) }, settle, tick)
		assert.Equal(t, round == 0, blocked("20.0.0.1"))
	}
	require.NoError(t, os.Remove(list))
	require.Eventually(t, func() bool { return !blocked("22.0.0.1") }, settle, tick)
	assert.Len(t, held(t, socket), 1)
	probe.end(t)
}

// prober asks for an echo a thousand times a second, and knocks from a blocked address.
type prober struct {
	stop    chan struct{}
	done    sync.WaitGroup
	asked   int
	longest time.Duration
	failed  error
	let     int
}

func (g *guarded) probe(t *testing.T) *prober {
	t.Helper()
	p := &prober{stop: make(chan struct{})}
	to := fmt.Sprintf("%s:8080", g.Server4)
	var conn net.Conn
	require.NoError(t, g.client.Do(func() (err error) {
		conn, err = net.Dial("tcp", to)
		return err
	}))
	p.done.Go(func() {
		defer conn.Close()
		buffer := make([]byte, 1)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for p.failed == nil {
			select {
			case <-p.stop:
				return
			case <-tick.C:
			}
			begin := time.Now()
			if _, p.failed = conn.Write(buffer); p.failed == nil {
				_, p.failed = conn.Read(buffer)
			}
			p.asked++
			p.longest = max(p.longest, time.Since(begin))
		}
	})
	p.done.Go(func() {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: g.neighbour.AsSlice()}, Timeout: 200 * time.Millisecond}
		for {
			select {
			case <-p.stop:
				return
			default:
			}
			_ = g.client.Do(func() error {
				conn, err := dialer.Dial("tcp", to)
				if err == nil {
					p.let++
					_ = conn.Close()
				}
				return nil
			})
		}
	})
	return p
}

func (p *prober) end(t *testing.T) {
	t.Helper()
	close(p.stop)
	p.done.Wait()
	require.NoError(t, p.failed)
	assert.Positive(t, p.asked)
	assert.Zero(t, p.let, "connections from a blocked address")
	t.Logf("%d echoes, the slowest took %s", p.asked, p.longest)
}
