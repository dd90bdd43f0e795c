// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
)

func benchmarkProbe(b *testing.B, change ...func(*Config)) *Probe {
	b.Helper()
	p, err := New(testConfig(change...), zap.NewNop())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, p.Close()) })
	require.NoError(b, p.Start(&recorder{overflows: make(map[uint64]uint64)}))
	return p
}

// BenchmarkSystemCall measures what attribution::accept_tracepoint costs every system call of
// the host. Compare the two. Better ways to accept are excluded, because they make it do
// nothing.
func BenchmarkSystemCall(b *testing.B) {
	for name, accept := range map[string]bool{"without accept_tracepoint": false, "with accept_tracepoint": true} {
		b.Run(name, func(b *testing.B) {
			p := benchmarkProbe(b, func(c *Config) {
				c.AcceptTracepoint = accept
				c.ExcludeHooks = otherWays(c, hook.Syscall, hook.FeatureAccept)
			})
			require.Equal(b, accept, p.sockets.Attached(hook.FeatureAccept))
			for b.Loop() {
				unix.Getppid()
			}
		})
	}
}

// socketDefaults are the receiver's defaults for the socket hooks, on a host with memory for
// the greatest default limits.
func socketDefaults(c *Config) {
	c.OpenRecords = false
	c.Drops, c.Accepts, c.Overflows = true, true, true
	c.AcceptTracepoint = false
	c.HandshakeTimeout = 10 * time.Second
	c.MaxConnections, c.RingBytes = 131_072, 16<<20
}

// BenchmarkConnection opens, serves and closes a connection on loopback. kernel-ns
// is the time of all socket hooks for it, by the kernel's own statistics, with the
// receiver's defaults; at most as many as the ring holds. x-empty is that against as many
// runs of an empty program, measured before and after. It includes runs of the drop hook for
// other buffers of the host. The scheduler places client and server; the next benchmark has
// the two cases between which that varies.
func BenchmarkConnection(b *testing.B) { benchmarkConnection(b, nil, nil) }

// BenchmarkConnectionPlaced is the same with a processor each for client and server, or one
// for both, where what the hooks keep of a connection never moves between caches.
func BenchmarkConnectionPlaced(b *testing.B) {
	for name, server := range map[string]int{"two": 1, "one": 0} {
		b.Run(name, func(b *testing.B) {
			benchmarkConnection(b, func() error { return stayOn(0) }, func() error { return stayOn(server) })
		})
	}
}

// stayOn keeps the calling goroutine on a processor until its end.
func stayOn(processor int) error {
	runtime.LockOSThread()
	var only unix.CPUSet
	only.Set(processor)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return fmt.Errorf("stay on processor %d: %w", processor, err)
	}
	return nil
}

// benchmarkConnection calls placeClient and placeServer, if there are such, where each runs.
func benchmarkConnection(b *testing.B, placeClient, placeServer func() error) {
	if placeClient != nil {
		require.NoError(b, placeClient())
	}
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	require.NoError(b, err)
	defer stats.Close()
	p := benchmarkProbe(b, socketDefaults)
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	placed := make(chan error, 1)
	go func() {
		if placeServer != nil {
			placed <- placeServer()
		}
		close(placed)
		serve(l)
	}()
	require.NoError(b, <-placed)
	empty := emptyRun(b)
	before := p.Hooks()
	for b.Loop() {
		converse(b, l.Addr().String())
	}
	var nanoseconds, runs float64
	for i, state := range p.Hooks() {
		if state.Runs == before[i].Runs {
			continue
		}
		hookRuns := float64(state.Runs-before[i].Runs) / float64(b.N)
		hookNanoseconds := float64(state.Nanoseconds-before[i].Nanoseconds) / float64(b.N)
		b.Logf("%-42s %8.1f ns in %5.2f runs", state.Name, hookNanoseconds, hookRuns)
		nanoseconds, runs = nanoseconds+hookNanoseconds, runs+hookRuns
	}
	b.ReportMetric(nanoseconds, "kernel-ns/op")
	b.ReportMetric(runs, "runs/op")
	empty = (empty + emptyRun(b)) / 2
	b.ReportMetric(empty, "empty-ns")
	b.ReportMetric(nanoseconds/(runs*empty), "x-empty")
	var kernel ledger.Kernel
	require.NoError(b, p.readLedger(&kernel))
	require.Zero(b, kernel.Lost[ledger.Connection], "losing a record costs less than writing it")
	require.NoError(b, p.Drain(time.Now()))
}

// emptyRun returns the time of one run of an empty program by the kernel's statistics, which is
// their own time.
func emptyRun(b *testing.B) float64 {
	b.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "Apache-2.0",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	require.NoError(b, err)
	defer prog.Close()
	const frame, rounds = 64, 100_000
	_, _, err = prog.Benchmark(make([]byte, frame), rounds, nil)
	require.NoError(b, err)
	stats, err := prog.Stats()
	require.NoError(b, err)
	require.NotZero(b, stats.RunCount)
	return float64(stats.Runtime.Nanoseconds()) / float64(stats.RunCount)
}

func serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(c, c)
		_ = c.Close()
	}
}

func converse(b *testing.B, address string) {
	b.Helper()
	c, err := net.Dial("tcp4", address)
	require.NoError(b, err)
	_, err = c.Write([]byte("request"))
	require.NoError(b, err)
	require.NoError(b, c.(*net.TCPConn).CloseWrite())
	_, err = io.ReadAll(c)
	require.NoError(b, err)
	require.NoError(b, c.Close())
}
