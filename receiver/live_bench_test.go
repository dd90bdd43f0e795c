// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package receiver

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
)

// BenchmarkSnapshot reads all open connections, as each interval does, from the kernel's map to
// the series. x-ss is the median of its CPU time divided by that of ss -tinO, which lists the
// same sockets, those of the server.
func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { benchmarkSnapshot(b, n) })
	}
}

// BenchmarkSnapshotWays does the same in each way, for kernels that refuse the better ways.
func BenchmarkSnapshotWays(b *testing.B) {
	var above []string
	for _, hook := range []string{"iter/bpf_map_elem", "prog_run/syscall", "iter/tcp", "map/lookup_batch"} {
		b.Run(path.Base(hook), func(b *testing.B) {
			host, err := Diagnose(createDefaultConfig())
			require.NoError(b, err)
			testbed.Need(b, host, "live by "+hook)
			benchmarkSnapshot(b, 100_000, above...)
		})
		above = append(above, hook)
	}
}

func benchmarkSnapshot(b *testing.B, n int, excluded ...string) {
	server := listenOnLoopback(b)
	cfg := createDefaultConfig()
	cfg.TC.Mode = string(probe.TCOff)
	cfg.Ports.Include = []any{int(server.port)}
	cfg.Limits.Connections, cfg.Limits.RingBytes = mostConnections, mostRingBytes // on any machine
	observer := newWay(b, false, true).observer
	cfg.Hooks.Exclude = excluded
	k := startKernel(b, cfg, observer)
	server.connect(b, n)
	require.NoError(b, k.Drain(time.Now()))

	seen := 0
	snapshot := func() {
		observer.BeginPass()
		s, err := k.Snapshot(observer.Live)
		require.NoError(b, err)
		observer.Snapshot(s)
		observer.EndPass()
		seen = int(s.Ledger.Active)
	}
	snapshot()
	require.Equal(b, n, seen, "connections in a snapshot")
	var ours, others []time.Duration
	for b.Loop() {
		ours = append(ours, cpuTime(snapshot))
		others = append(others, server.list(b))
	}
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = float64(ours[i]) / float64(others[i])
	}
	b.ReportMetric(0, "ns/op") // of a round; the figures below are of a connection
	b.ReportMetric(median(ratios), "x-ss")
	b.ReportMetric(float64(median(ours).Nanoseconds())/float64(n), "ns/connection")
	b.ReportMetric(float64(median(others).Nanoseconds())/float64(n), "ss-ns/connection")
	b.ReportMetric(testing.AllocsPerRun(1, snapshot)/float64(n), "allocs/connection")
}

func startKernel(b *testing.B, cfg *Config, h fact.Sink) *probe.Probe {
	b.Helper()
	var f check.Faults
	kernelConfig := cfg.probeConfig(&f)
	require.Empty(b, f)
	k, err := probe.New(kernelConfig, zap.NewNop())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, k.Close()) })
	require.NoError(b, k.Start(h))
	return k
}

// loopbackServer holds both ends of its connections.
type loopbackServer struct {
	listener int
	port     uint16
}

func listenOnLoopback(b *testing.B) *loopbackServer {
	b.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(b, err)
	b.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(b, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(b, unix.Listen(fd, 128))
	address, err := unix.Getsockname(fd)
	require.NoError(b, err)
	return &loopbackServer{listener: fd, port: uint16(address.(*unix.SockaddrInet4).Port)}
}

// connect opens n connections, which end with the benchmark. Each thread has its own table of
// files, so that no limit has to be raised, and its own client address, so that there are
// enough ports.
func (s *loopbackServer) connect(b *testing.B, n int) {
	b.Helper()
	const perThread = 8000
	stop := make(chan struct{})
	var threads sync.WaitGroup
	b.Cleanup(threads.Wait)
	b.Cleanup(func() { close(stop) })
	for address := netip.MustParseAddr("127.0.1.1"); n > 0; address = address.Next() {
		connections := min(n, perThread)
		n -= connections
		ready := make(chan error)
		threads.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends, its files with it
			err := unix.Unshare(unix.CLONE_FILES)
			for range connections {
				err = cmp.Or(err, s.dial(address))
			}
			ready <- err
			<-stop
		})
		require.NoError(b, <-ready)
	}
}

// dial opens and accepts one connection. It is left open.
func (s *loopbackServer) dial(from netip.Addr) error {
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	// A reset at the end leaves nothing in TIME_WAIT.
	if err := errors.Join(
		unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.SetsockoptInt(client, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.Bind(client, &unix.SockaddrInet4{Addr: from.As4()}),
		unix.Connect(client, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: int(s.port)}),
	); err != nil {
		return err
	}
	_, _, err = unix.Accept4(s.listener, unix.SOCK_CLOEXEC)
	return err
}

// list returns the CPU time of ss.
func (s *loopbackServer) list(b *testing.B) time.Duration {
	b.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(b, err)
	defer null.Close()
	ss := exec.Command("ss", "-tinO", "state", "established", fmt.Sprintf("sport = :%d", s.port))
	ss.Stdout = null
	require.NoError(b, ss.Run())
	return ss.ProcessState.UserTime() + ss.ProcessState.SystemTime()
}
