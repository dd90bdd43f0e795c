// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// A connection without room is lost, and is not found again when it closes much later.
func TestSockWhatHadNoRoomIsNotFoundLater(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	k := startProbe(t, testConfig(onlyPort(portOf(l.Addr())), func(c *Config) { c.MaxConnections = 1 }))
	first, server := connect(t, l, "127.0.0.1")
	second, other := connect(t, l, "127.0.0.1")
	full := k.probe.maps.Maps["connections_full"]
	var last uint64
	require.NoError(t, full.Lookup(uint32(0), &last))
	require.NotZero(t, last)
	require.NoError(t, full.Put(uint32(0), uint64(1)), "as if it were long ago")
	finish(t, first, server)
	finish(t, second, other)
	k.until("close", func() bool { return len(k.closed) == 1 })
	k.balance()
	s, _ := k.snapshot(0)
	assert.EqualValues(t, 2, s.Ledger.Opened)
	assert.Zero(t, s.Ledger.Adopted)
	assert.EqualValues(t, 1, s.Ledger.Lost[ledger.Connection][ledger.MapFull])
}

// A beginning that the state hook misses is found when the server closes, if accept has no
// hook. A client is not inbound, even if its port listens.
func TestSockBeginningThatTheStateHookMissed(t *testing.T) {
	for _, reason := range []connection.CloseReason{connection.CloseServerFIN, connection.CloseClientFIN} {
		t.Run(reason.String(), func(t *testing.T) {
			enterNetNS(t)
			other := listenShared(t, "127.0.0.1:0")
			l := listen(t, "tcp4", "127.0.0.1:0")
			k := startProbe(t, testConfig(onlyPorts(portOf(l.Addr()), portOf(other.Addr()))))
			k.without(hook.FeatureAccept)
			client, err := dialShared(other.Addr(), l.Addr())
			require.NoError(t, err)
			server, err := l.AcceptTCP()
			require.NoError(t, err)
			send(t, client, server, 10)
			k.until("open", func() bool { return len(k.opened) == 1 })
			forgetConnections(t, k)
			if reason == connection.CloseServerFIN {
				finish(t, server, client)
			} else {
				finish(t, client, server)
			}
			k.until("close", func() bool { return len(k.closed) == 1 })
			assert.Equal(t, reason.String(), k.closed[0].Reason.String())
			assert.Equal(t, l.Addr().String(), k.closed[0].Server.String())
			assert.True(t, k.closed[0].Adopted, "since when it was open nobody knows")
			assert.Zero(t, k.closed[0].Handshake)
			assert.Zero(t, k.closed[0].HandshakeRTT)
			assert.Equal(t, owner.ByCloser, k.closed[0].Owner.Source)
			assert.EqualValues(t, 10, k.closed[0].ReceivedBytes)
			s, _ := k.snapshot(0)
			assert.EqualValues(t, 1, s.Ledger.Opened, "that was forgotten")
			assert.EqualValues(t, 1, s.Ledger.Adopted)
		})
	}
}

// A namespace without a share says nothing about another.
func TestSockBeginningMissedBesideAFlood(t *testing.T) {
	const size = 16
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	k := startProbe(t, testConfig(func(c *Config) { c.MaxConnections = size }))
	k.without(hook.FeatureAccept)
	flooding := elsewhere(t, func() { open(t, size) })
	var share shared.NamespaceShare
	require.NoError(t, k.probe.maps.Maps["namespace_rooms"].Lookup(flooding, &share))
	require.NotZero(t, share.Refused)
	client, server := connect(t, l, "127.0.0.1")
	k.until("open", func() bool { return len(k.opened) == 1 })
	forgetConnections(t, k)
	finish(t, server, client)
	k.until("close", func() bool { return len(k.closed) == 1 })
	assert.True(t, k.closed[0].Adopted)
}

// An end that the state hook misses is reported when the kernel frees the socket. Its reason
// follows from earlier events.
func TestSockEndThatTheStateHookMissed(t *testing.T) {
	tests := []struct {
		reason        connection.CloseReason
		before, after func(t *testing.T, client, server *net.TCPConn)
	}{
		{
			connection.CloseClientReset,
			func(*testing.T, *net.TCPConn, *net.TCPConn) {},
			func(t *testing.T, client, server *net.TCPConn) {
				require.NoError(t, client.SetLinger(0))
				require.NoError(t, client.Close())
				_, err := server.Read(make([]byte, 1))
				require.ErrorIs(t, err, unix.ECONNRESET)
			},
		},
		{
			connection.CloseServerFIN,
			func(t *testing.T, client, server *net.TCPConn) {
				require.NoError(t, server.CloseWrite())
				_, err := client.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
			},
			func(t *testing.T, client, _ *net.TCPConn) { require.NoError(t, client.Close()) },
		},
		{
			connection.CloseUnknown,
			func(*testing.T, *net.TCPConn, *net.TCPConn) {},
			func(t *testing.T, client, server *net.TCPConn) { finish(t, client, server) },
		},
	}
	for _, test := range tests {
		t.Run(test.reason.String(), func(t *testing.T) {
			enterNetNS(t)
			if test.reason == connection.CloseClientReset {
				needing(t, "reset_received")
			}
			l := listen(t, "tcp4", "127.0.0.1:0")
			k := startProbe(t, testConfig(onlyPort(portOf(l.Addr()))))
			client, server := connect(t, l, "127.0.0.1")
			send(t, client, server, 10)
			test.before(t, client, server)
			k.without(hook.FeatureConnection)
			test.after(t, client, server)
			_ = server.Close()
			k.until("close", func() bool { return len(k.closed) == 1 })
			assert.Equal(t, test.reason.String(), k.closed[0].Reason.String())
			assert.EqualValues(t, 10, k.closed[0].ReceivedBytes)
			k.balance()
		})
	}
}

// Interrupts make the kernel skip runs of a hook. A missed beginning is found at accept, and a
// missed end when the kernel frees the socket. The ledger has what the kernel hides entirely:
// every connection that was reported as open is reported as closed or counted as lost.
func TestSockBalancesUnderInterrupts(t *testing.T) {
	enterNetNS(t)
	steerLoopback(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	port := portOf(l.Addr())
	k := startProbe(t, testConfig(onlyPort(port), func(c *Config) { c.RingBytes = 64 << 20; c.OpenRecords = false }), hook.FeatureAccept)
	namespace, err := os.Open("/proc/thread-self/ns/net")
	require.NoError(t, err)
	defer namespace.Close()
	const dialers = 4
	each := 2500
	if wire.Emulated() {
		each = 250
	}
	go serve(l)
	var dialing sync.WaitGroup
	for range dialers {
		dialing.Go(func() {
			runtime.LockOSThread() // and ends with the goroutine
			if !assert.NoError(t, unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)) {
				return
			}
			for range each {
				c, err := net.Dial("tcp4", l.Addr().String())
				if !assert.NoError(t, err) {
					return
				}
				assert.NoError(t, c.(*net.TCPConn).CloseWrite())
				_, err = io.ReadAll(c)
				assert.NoError(t, err)
				assert.NoError(t, c.Close())
			}
		})
	}
	dialing.Wait()
	require.NoError(t, l.Close())
	if wire.Emulated() {
		k.until("closes", func() bool { return len(k.closed) == dialers*each })
	}
	k.balance()
	s, _ := k.snapshot(port)
	assert.EqualValues(t, dialers*each, s.Ledger.Opened)
	for _, each := range s.Hooks {
		if each.Missed > 0 {
			t.Logf("%s: %d runs missed", each.Name, each.Missed)
		}
	}
	t.Logf("%d of %d ends seen", len(k.closed), dialers*each)
	// 0 to 63 of 10,000 on a kernel that hides a process, see bpf/sock/sock.bpf.c.
	assert.Greater(t, len(k.closed), dialers*each*98/100)
}

// steerLoopback lets receive packet steering move arriving packets to either CPU, by an
// interrupt, as a network card does.
func steerLoopback(t *testing.T) {
	t.Helper()
	// A separate mount shows the interfaces of our network namespace.
	context, err := unix.Fsopen("sysfs", unix.FSOPEN_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(context)
	require.NoError(t, unix.FsconfigCreate(context))
	sysfs, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(sysfs)
	fd, err := unix.Openat(sysfs, "class/net/lo/queues/rx-0/rps_cpus", unix.O_WRONLY, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte("3"))
	require.NoError(t, err)
}

func TestSockFilters(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config, uint16)
		want   int
	}{
		{"port included", func(c *Config, p uint16) { onlyPort(p)(c) }, 1},
		{"port not included", func(c *Config, p uint16) { c.IncludePorts = []PortRange{{First: p + 1, Last: p + 1}} }, 0},
		{"port excluded", func(c *Config, p uint16) { c.ExcludePorts = []PortRange{{First: p - 1, Last: p + 1}} }, 0},
		{"client included", func(c *Config, _ uint16) {
			c.IncludeClients = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}, 1},
		{"client not included", func(c *Config, _ uint16) {
			c.IncludeClients = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}, 0},
		{"client excluded within included", func(c *Config, _ uint16) {
			c.IncludeClients = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			c.ExcludeClients = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			enterNetNS(t)
			l := listen(t, "tcp4", "127.0.0.1:0")
			k := startProbe(t, testConfig(func(c *Config) { test.change(c, portOf(l.Addr())) }))
			client, server := connect(t, l, "127.0.0.1")
			finish(t, client, server)
			k.settle()
			assert.Len(t, k.closed, test.want)
		})
	}
}
