// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/sockets"
)

// eachWay runs a test once for each way to features on this host, and leaves the other
// features as they are. A way that the host lacks must say why.
func eachWay(t *testing.T, cfg Config, names []string, test func(t *testing.T, k *kernel)) {
	t.Helper()
	excluded := cfg.ExcludeHooks
	for _, kind := range []hook.Kind{hook.Fentry, hook.KprobeMulti, hook.Kprobe, hook.Syscall} {
		if !slices.ContainsFunc(sockets.Features(&cfg, &hook.Host{}), func(f hook.Feature) bool {
			return f.Name == names[0] && slices.ContainsFunc(f.Ways, func(w hook.Way) bool { return w[0].Kind == kind })
		}) {
			continue
		}
		cfg.ExcludeHooks = append(otherWays(&cfg, kind, names...), excluded...)
		t.Run(string(kind), func(t *testing.T) {
			enterNetNS(t)
			k := startWith(t, cfg, names)
			for _, name := range names {
				by := name + " by " + string(kind) + "/*"
				lacks, err := thisHost(t).Lacks(by)
				require.NoError(t, err)
				require.Equal(t, lacks == "", k.probe.sockets.Attached(name), by)
				if lacks != "" {
					k.explains(name, kind)
				}
				needing(t, by)
			}
			test(t, k)
		})
	}
	// Else nothing of it was possible.
	needing(t, names...)
}

// otherWays are the hooks of all ways to features but those of one kind.
func otherWays(cfg *Config, kind hook.Kind, names ...string) []string {
	var hooks []string
	for _, f := range sockets.Features(cfg, &hook.Host{}) {
		for _, h := range slices.Concat(f.Ways...) {
			if slices.Contains(names, f.Name) && h.Kind != kind {
				hooks = append(hooks, h.Point())
			}
		}
	}
	return hooks
}

// startWith is startProbe for a test that can lack some features.
func startWith(t *testing.T, cfg Config, optional []string) *kernel {
	t.Helper()
	needing(t, needsOf(&cfg)...)
	k := startAny(t, cfg)
	k.hasWhatTheHostGives(optional...)
	return k
}

func (k *kernel) explains(feature string, kind hook.Kind) {
	k.t.Helper()
	for _, state := range k.probe.Hooks() {
		if state.Feature == feature {
			assert.False(k.t, state.Attached)
			assert.ErrorContains(k.t, state.Err, string(kind)+"/")
			assert.NotContains(k.t, state.Err.Error(), "\n")
			return
		}
	}
	k.t.Errorf("no hook tells of %s", feature)
}

func TestSockAcceptWays(t *testing.T) {
	const waited = 30 * time.Millisecond
	eachWay(t, testConfig(), []string{hook.FeatureAccept}, func(t *testing.T, k *kernel) {
		l := listen(t, "tcp", "[::]:0")
		for i, address := range []string{"127.0.0.1", "::1"} {
			before := time.Now()
			client, err := net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(int(portOf(l.Addr())))))
			require.NoError(t, err)
			// The client's ACK may be on its way still when connect() returns.
			k.until("open", func() bool { return len(k.opened) == i+1 })
			time.Sleep(waited) // in the accept queue
			server, err := l.AcceptTCP()
			require.NoError(t, err)
			// The client ends it, so that the close names no process.
			require.NoError(t, client.(*net.TCPConn).SetLinger(0))
			require.NoError(t, client.Close())
			k.until("close", func() bool { return len(k.closed) == i+1 })
			require.NoError(t, server.Close())
			closed := k.closed[i]
			assert.Equal(t, owner.ByAcceptor, closed.Owner.Source)
			assert.EqualValues(t, os.Getpid(), closed.Owner.PID)
			assert.GreaterOrEqual(t, closed.Accept, int64(waited))
			assert.Less(t, closed.Accept, int64(time.Since(before)))
		}
	})
}

// TestSockAcceptTracepointOff: nothing attaches to system calls unless the configuration asks
// for it, and the state names the setting.
func TestSockAcceptTracepointOff(t *testing.T) {
	needing(t, hook.FeatureAccept+" by "+string(hook.Syscall)+"/*")
	enterNetNS(t)
	k := startWith(t, testConfig(func(c *Config) {
		c.AcceptTracepoint = false
		c.ExcludeHooks = append(otherWays(c, hook.Syscall, hook.FeatureAccept), c.ExcludeHooks...)
	}), []string{hook.FeatureAccept})
	require.False(t, k.probe.sockets.Attached(hook.FeatureAccept))
	k.explains(hook.FeatureAccept, hook.Syscall)
	for _, state := range k.probe.Hooks() {
		if state.Feature == hook.FeatureAccept {
			assert.ErrorContains(t, state.Err, "attribution::accept_tracepoint is off")
		}
	}
}

// listenBacklog listens with a queue that is full at backlog+1.
func listenBacklog(t *testing.T, address string, backlog int) *net.TCPListener {
	t.Helper()
	l := listen(t, "tcp", address)
	raw, err := l.SyscallConn()
	require.NoError(t, err)
	var failed error
	require.NoError(t, raw.Control(func(fd uintptr) { failed = unix.Listen(int(fd), backlog) }))
	require.NoError(t, failed)
	return l
}

func TestSockAcceptQueueOverflowWays(t *testing.T) {
	features := []string{hook.FeatureOverflowSYN, hook.FeatureOverflowACK, hook.FeatureOverflowACK6}
	for _, address := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		t.Run(address, func(t *testing.T) {
			cfg := testConfig(func(c *Config) { c.Overflows = true })
			eachWay(t, cfg, features, func(t *testing.T, k *kernel) {
				needing(t, "queue")
				testOverflow(t, k, address)
			})
		})
	}
	needing(t, features...)
}

// testOverflow causes both kinds: at the SYN, and at the ACK of a handshake that began while
// there was room.
func testOverflow(t *testing.T, k *kernel, address string) {
	listenOn := address
	if strings.HasPrefix(address, "::ffff:") {
		listenOn, address = "::", strings.TrimPrefix(address, "::ffff:")
	}
	l := listenBacklog(t, net.JoinHostPort(listenOn, "0"), 1)
	port := portOf(l.Addr())
	server := net.JoinHostPort(address, strconv.Itoa(int(port)))

	dropSegments(t, fmt.Sprintf("tcp dport %d tcp flags & (syn|ack) == ack", port))
	late, err := net.Dial("tcp", server)
	require.NoError(t, err)
	defer late.Close()
	nft(t, "flush ruleset")
	for range 2 {
		client, err := net.Dial("tcp", server)
		require.NoError(t, err)
		defer client.Close()
	}
	_, err = late.Write([]byte("its ACK finds no room"))
	require.NoError(t, err)
	lateAddress := late.LocalAddr().(*net.TCPAddr).AddrPort()
	from := func(client netip.AddrPort) func() bool {
		return func() bool {
			for _, f := range k.failed {
				if f.Client == client {
					return true
				}
			}
			return false
		}
	}
	k.until("overflow at the ACK", from(lateAddress))

	_, err = net.DialTimeout("tcp", server, 100*time.Millisecond)
	require.Error(t, err)
	k.until("overflow at the SYN", func() bool {
		for _, f := range k.failed {
			if f.Client != lateAddress {
				return true
			}
		}
		return false
	})
	require.NoError(t, late.Close())
	k.until("agreement with the kernel's count", func() bool {
		kernel := int(netstat(t, "ListenOverflows"))
		counted := int(k.counted(port, connection.Failures, connection.FailureAcceptQueueOverflow.String()))
		return counted == kernel && len(k.failed) == kernel && k.queueOverflows(port) == kernel
	})
	for _, f := range k.failed {
		assert.Equal(t, connection.FailureAcceptQueueOverflow.String(), f.Type.String())
		assert.Equal(t, netip.MustParseAddr(address), f.Client.Addr())
		assert.Equal(t, netip.AddrPortFrom(netip.MustParseAddr(address), port), f.Server)
	}
}

// queueOverflows counts what the listeners of a port dropped.
func (k *kernel) queueOverflows(port uint16) int {
	k.t.Helper()
	s, _ := k.snapshot(port)
	sum := 0
	for _, q := range s.Queues {
		if l, known := k.facts.listeners[q.Socket]; known && l.NetNS == k.netns && l.Address.Port() == port {
			sum += int(q.Overflows)
		}
	}
	return sum
}

func TestSockHandshakeDuration(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		t.Run(address, func(t *testing.T) {
			enterNetNS(t)
			l := listen(t, "tcp", net.JoinHostPort(address, "0"))
			port := portOf(l.Addr())
			k := startProbe(t, testConfig(onlyPort(port)), "synack_retransmit")

			begun := time.Now()
			dropSegments(t, fmt.Sprintf("tcp dport %d tcp flags & (syn|ack) == ack", port))
			client, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			k.counted(port, connection.SYNACKRetransmits, "")
			nft(t, "flush ruleset")
			_, err = client.Write([]byte("completes the handshake"))
			require.NoError(t, err)
			server, err := l.AcceptTCP()
			require.NoError(t, err)
			finish(t, client.(*net.TCPConn), server)
			k.until("close", func() bool { return len(k.closed) == 1 })
			closed := k.closed[0]
			assert.Zero(t, closed.HandshakeRTT, "a SYN-ACK that was sent twice measures no RTT")
			handshake := time.Duration(closed.Handshake) * time.Microsecond
			// The kernel sends the SYN-ACK again after a second (RFC 6298).
			assert.GreaterOrEqual(t, handshake, time.Second)
			assert.LessOrEqual(t, handshake, time.Since(begun))

			client, server = connect(t, l, address)
			finish(t, client.(*net.TCPConn), server)
			k.until("close", func() bool { return len(k.closed) == 2 })
			assert.Positive(t, k.closed[1].Handshake)
			assert.Equal(t, k.closed[1].HandshakeRTT, k.closed[1].Handshake)
		})
	}
}

// No process holds a connection that waits to be accepted. The scans find it only in network
// namespaces that the probe may enter.
func TestSockAcceptOfWhatTheScansMissed(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	port := portOf(l.Addr())
	client, err := net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	const waited = 30 * time.Millisecond
	time.Sleep(waited)
	k := startProbe(t, testConfig(onlyPort(port)), hook.FeatureAccept, "existing_connection", "orphan")
	for _, adopted := range []bool{true, false} {
		// As if it was not found, or its beginning was missed.
		forgetConnections(t, k)
		server, err := l.AcceptTCP()
		require.NoError(t, err)
		finish(t, client.(*net.TCPConn), server)
		k.until("close", func() bool { return len(k.closed) == 1 })
		assert.Equal(t, adopted, k.closed[0].Adopted)
		assert.Zero(t, k.closed[0].Accept, "since when it waited is not known")
		assert.Equal(t, owner.ByAcceptor, k.closed[0].Owner.Source)
		k.opened, k.closed = nil, nil
		client, err = net.Dial("tcp4", l.Addr().String())
		require.NoError(t, err)
		k.until("open", func() bool { return len(k.opened) == 1 })
	}
	s, _ := k.snapshot(port)
	assert.EqualValues(t, 2+1, s.Ledger.Opened, "two after the start, one of them twice")
	assert.EqualValues(t, 2, s.Ledger.Adopted, "once by the scan, once at accept")
}

func forgetConnections(t *testing.T, k *kernel) {
	t.Helper()
	connections := k.probe.maps.Maps["connections"]
	var key uint64
	var value shared.Connection
	var keys []uint64
	entries := connections.Iterate()
	for entries.Next(&key, &value) {
		if value.Netns == k.netns {
			keys = append(keys, key)
		}
	}
	require.NoError(t, entries.Err())
	require.Len(t, keys, 1)
	require.NoError(t, connections.Delete(&keys[0]))
}
