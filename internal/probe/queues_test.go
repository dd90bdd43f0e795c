// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// listenerOn is the latest listener on a port of the recorder's namespace.
func (r *recorder) listenerOn(port uint16) (connection.Listener, bool) {
	for i := len(r.listeners) - 1; i >= 0; i-- {
		if r.listeners[i].Address.Port() == port {
			return r.listeners[i], true
		}
	}
	return connection.Listener{}, false
}

// queuesOf takes a snapshot, with the queues of one listener.
func (k *kernel) queuesOf(port uint16) (connection.Queues, bool) {
	k.t.Helper()
	k.until("listener", func() bool { _, ok := k.listenerOn(port); return ok })
	listener, _ := k.listenerOn(port)
	s, _ := k.snapshot(0)
	for _, q := range s.Queues {
		if q.Socket == listener.Socket {
			return q, true
		}
	}
	return connection.Queues{}, false
}

// perNamespace counts overflows without the hooks, on any kernel.
func perNamespace(c *Config) {
	c.Overflows = true
	c.ExcludeHooks = append(slices.Clone(c.ExcludeHooks), otherWays(c, "", hook.FeatureOverflowSYN, hook.FeatureOverflowACK, hook.FeatureOverflowACK6)...)
}

// overflowed returns the count of the only listener in its namespace, and the kernel's own.
// Clients retry meanwhile, so both are read when neither changes.
func (k *kernel) overflowed(port uint16) (ours, kernels uint64) {
	k.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		before := netstat(k.t, "ListenDrops")
		q, ok := k.queuesOf(port)
		require.True(k.t, ok)
		if netstat(k.t, "ListenDrops") == before {
			return q.Overflows, before
		}
		require.True(k.t, time.Now().Before(deadline), "the counters never rest")
	}
}

func TestSockAcceptQueue(t *testing.T) {
	for _, test := range []struct {
		name            string
		domain, backlog int
		before          bool
	}{
		{"IPv4, 1", unix.AF_INET, 1, false},
		{"IPv4, 2, found", unix.AF_INET, 2, true},
		{"IPv4, 3", unix.AF_INET, 3, false},
		{"IPv4, 4, found", unix.AF_INET, 4, true},
		{"IPv6, 1, found", unix.AF_INET6, 1, true},
		{"IPv6, 2", unix.AF_INET6, 2, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			testAcceptQueue(t, test.domain, unix.IPPROTO_TCP, test.backlog, test.before)
		})
	}
}

// The queue belongs to the listening subflow, not to the multipath socket.
func TestSockAcceptQueueOfMultipathListener(t *testing.T) {
	testbed.NeedKernel(t, testbed.MultipathTCP)
	t.Run("found", func(t *testing.T) { testAcceptQueue(t, unix.AF_INET, unix.IPPROTO_MPTCP, 2, true) })
	t.Run("told", func(t *testing.T) { testAcceptQueue(t, unix.AF_INET, unix.IPPROTO_MPTCP, 3, false) })
}

// testAcceptQueue fills the queue of a listener that began before the probe, or after it.
func testAcceptQueue(t *testing.T, domain, protocol, backlog int, before bool) {
	enterNetNS(t)
	needing(t, "queue")
	var k *kernel
	if !before {
		k = startAny(t, testConfig(perNamespace))
	}
	l := listenWith(t, domain, protocol, backlog, true)
	if before {
		k = startAny(t, testConfig(perNamespace))
	}
	q, ok := k.queuesOf(l.port)
	require.True(t, ok)
	assert.Equal(t, connection.Queues{Socket: q.Socket, Since: q.Since, AcceptLimit: uint32(backlog)}, q)

	l.call(t, 1)
	q, _ = k.queuesOf(l.port)
	assert.EqualValues(t, 1, q.Accept)
	assert.Zero(t, q.Overflows)

	// The kernel refuses when the length exceeds the limit.
	l.call(t, backlog+5)
	q, _ = k.queuesOf(l.port)
	receive, send, requests := l.kernelQueues(t)
	assert.Equal(t, receive, q.Accept)
	assert.Equal(t, send, q.AcceptLimit)
	assert.EqualValues(t, requests, q.SYN)
	assert.EqualValues(t, backlog+1, q.Accept)
	ours, kernels := k.overflowed(l.port)
	assert.Equal(t, kernels, ours)
	assert.GreaterOrEqual(t, ours, uint64(5))
	assert.Equal(t, netstat(t, "ListenOverflows"), netstat(t, "ListenDrops"), "of which nothing else")

	// listen() again changes the limit; accept() makes room.
	require.NoError(t, unix.Listen(l.fd, 64))
	accepted, _, err := unix.Accept(l.fd)
	require.NoError(t, err)
	defer unix.Close(accepted)
	q, _ = k.queuesOf(l.port)
	receive, _, _ = l.kernelQueues(t)
	assert.EqualValues(t, 64, q.AcceptLimit)
	assert.Equal(t, receive, q.Accept)
}

// SYN-ACKs that never arrive leave handshakes in progress.
func TestSockSYNQueue(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig(), "queue")
	l := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 16, true)
	other := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 16, true)
	nft(t, "add table inet test; add chain inet test input { type filter hook input priority 0; }; "+
		"add rule inet test input tcp flags & (syn|ack) == (syn|ack) drop")
	l.call(t, 5)
	q, ok := k.queuesOf(l.port)
	require.True(t, ok)
	_, _, requests := l.kernelQueues(t)
	assert.EqualValues(t, 5, q.SYN)
	assert.EqualValues(t, requests, q.SYN)
	assert.Zero(t, q.Accept)
	assert.Zero(t, q.Overflows)
	q, ok = k.queuesOf(other.port)
	require.True(t, ok)
	assert.Zero(t, q.SYN, "each listener has its own")
}

// Two namespaces with one port: each listener has its own queues, and the counts equal the
// kernel's in the namespaces.
func TestSockQueuesOfNamespaces(t *testing.T) {
	const port = 18084
	enterNetNS(t)
	needing(t, "queue")
	k := startAny(t, testConfig(onlyPort(port), perNamespace))
	servers := make([]*actor, 2)
	for i := range servers {
		wire.NewPeer(t).In(func() {
			setLoopback(t, true)
			servers[i] = act(t, "queue", nil)
		})
		servers[i].order(queueOrder{Port: port, Backlog: i + 1})
		var listens bool
		servers[i].report(&listens)
	}
	k.settle() // from here on it counts
	want := map[uint32]uint64{}
	for i, server := range servers {
		server.order(queueOrder{Calls: i + 2 + 3})
		var overflows uint64
		server.report(&overflows)
		require.GreaterOrEqual(t, overflows, uint64(3))
		want[uint32(i+1)] = overflows
	}
	s, _ := k.snapshot(0)
	got, lengths := map[uint32]uint64{}, map[uint32]uint32{}
	for _, q := range s.Queues {
		require.False(t, q.OverflowsUnread)
		lengths[q.AcceptLimit] = q.Accept
		got[q.AcceptLimit] = q.Overflows
	}
	assert.Equal(t, map[uint32]uint32{1: 2, 2: 3}, lengths)
	// Clients try again.
	for limit, overflows := range want {
		assert.GreaterOrEqual(t, got[limit], overflows)
	}
	assert.Empty(t, s.Overflows)
}

// Unselected ports have no queues, and their ends have no counts.
func TestSockQueuesOfSelectedPorts(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	needing(t, "queue")
	k := startAny(t, testConfig(onlyPort(portOf(l.Addr())), perNamespace))
	other := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 1, true)
	other.call(t, 2+3)
	_, ok := k.queuesOf(portOf(l.Addr()))
	assert.True(t, ok)
	_, ok = k.queuesOf(other.port)
	assert.False(t, ok)
	require.NotZero(t, netstat(t, "ListenOverflows"))
	other.close()
	k.until("end of the listener", func() bool { return len(k.unlistens) > 0 })
	assert.Zero(t, k.overflows[k.unlistens[0]])
	s, _ := k.snapshot(0)
	for _, o := range s.Overflows {
		assert.Zero(t, o.N, "it may be the other port's")
	}
}

// BenchmarkListeners is one look at 1000 listeners.
func BenchmarkListeners(b *testing.B) {
	const listeners = 1000
	for range listeners {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(b, err)
		b.Cleanup(func() { _ = l.Close() })
	}
	p := benchmarkProbe(b)
	looks := 0
	for b.Loop() {
		looks = 0
		require.NoError(b, p.sockets.Listeners.Queues.Each(func(*shared.ListenerLook) { looks++ }))
	}
	require.GreaterOrEqual(b, looks, listeners)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(looks), "ns/listener")
}
