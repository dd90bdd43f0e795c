// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
)

// listen opens a plain TCP listener: Go's default is multipath TCP.
func listen(t *testing.T, network, address string) *net.TCPListener {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), network, address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

func portOf(a net.Addr) uint16 { return a.(*net.TCPAddr).AddrPort().Port() }

// connect makes a connection and returns both ends.
func connect(t *testing.T, l *net.TCPListener, address string) (client, server *net.TCPConn) {
	t.Helper()
	dialed, err := net.Dial("tcp", net.JoinHostPort(address, fmt.Sprint(portOf(l.Addr()))))
	require.NoError(t, err)
	accepted, err := l.AcceptTCP()
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = dialed.Close()
		_ = accepted.Close()
	})
	return dialed.(*net.TCPConn), accepted
}

// send writes n bytes at one end and reads them at the other.
func send(t *testing.T, from, to net.Conn, n int) {
	t.Helper()
	_, err := from.Write(make([]byte, n))
	require.NoError(t, err)
	_, err = io.ReadFull(to, make([]byte, n))
	require.NoError(t, err)
}

// finish closes both ends in order: first sends its FIN, then second.
func finish(t *testing.T, first, second *net.TCPConn) {
	t.Helper()
	require.NoError(t, first.CloseWrite())
	_, err := io.ReadAll(second)
	require.NoError(t, err)
	require.NoError(t, second.Close())
	_, err = io.ReadAll(first)
	require.NoError(t, err)
	require.NoError(t, first.Close())
}

func TestSockCloseReasons(t *testing.T) {
	const received, transmitted = 1000, 20000
	tests := []struct {
		reason connection.CloseReason
		end    func(t *testing.T, client, server *net.TCPConn)
	}{
		{connection.CloseClientFIN, func(t *testing.T, client, server *net.TCPConn) { finish(t, client, server) }},
		{connection.CloseServerFIN, func(t *testing.T, client, server *net.TCPConn) { finish(t, server, client) }},
		{connection.CloseClientReset, func(t *testing.T, client, _ *net.TCPConn) {
			require.NoError(t, client.SetLinger(0))
			require.NoError(t, client.Close())
		}},
		{connection.CloseServerReset, func(t *testing.T, _, server *net.TCPConn) {
			require.NoError(t, server.SetLinger(0))
			require.NoError(t, server.Close())
		}},
		{connection.CloseAborted, func(t *testing.T, client, server *net.TCPConn) {
			require.NoError(t, netlink.SocketDestroy(server.LocalAddr(), client.LocalAddr()))
		}},
		{connection.CloseTimeout, func(t *testing.T, _, server *net.TCPConn) {
			setUserTimeout(t, server, 300*time.Millisecond)
			setLoopback(t, false)
			_, err := server.Write([]byte("nobody will acknowledge this"))
			require.NoError(t, err)
		}},
	}
	for _, test := range tests {
		t.Run(test.reason.String(), func(t *testing.T) {
			enterNetNS(t)
			l := listen(t, "tcp4", "127.0.0.1:0")
			k := startProbe(t, testConfig(onlyPort(portOf(l.Addr()))))
			client, server := connect(t, l, "127.0.0.1")
			local := client.LocalAddr().(*net.TCPAddr).AddrPort()
			send(t, client, server, received)
			send(t, server, client, transmitted)
			test.end(t, client, server)

			k.until("close", func() bool { return len(k.closedTo(portOf(l.Addr()))) == 1 })
			closed := k.closedTo(portOf(l.Addr()))[0]
			assert.Equal(t, test.reason.String(), closed.Reason.String())
			assert.Equal(t, local, closed.Client)
			assert.Equal(t, netip.MustParseAddrPort(l.Addr().String()), closed.Server)
			assert.EqualValues(t, received, closed.ReceivedBytes)
			assert.EqualValues(t, transmitted, closed.TransmittedBytes)
			assert.Positive(t, closed.SmoothedRTT)
			assert.Positive(t, closed.MinRTT)
			assert.Positive(t, closed.HandshakeRTT)
			assert.False(t, closed.Adopted)
			assert.GreaterOrEqual(t, closed.Time, closed.Opened)
			assert.WithinDuration(t, time.Now(), time.Unix(0, closed.Time), time.Minute)
			k.balance()
			t.Run("accept", func(t *testing.T) {
				needing(t, hook.FeatureAccept)
				assert.Positive(t, closed.Accept)
				assert.Equal(t, owner.ByAcceptor, closed.Owner.Source)
				assert.EqualValues(t, os.Getpid(), closed.Owner.PID)
			})
		})
	}
}

func setUserTimeout(t *testing.T, c syscall.Conn, d time.Duration) {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	var failed error
	require.NoError(t, raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	}))
	require.NoError(t, failed)
}

// balance checks the ledger of the kernel side: every opened or adopted connection was
// reported, is open, or is counted as lost.
func (k *kernel) balance() {
	k.t.Helper()
	k.settle()
	s, _ := k.snapshot(0)
	k.settle()
	lost := int64(0)
	for _, n := range s.Ledger.Lost[ledger.Connection] {
		lost += n
	}
	assert.Equal(k.t, s.Ledger.Opened+s.Ledger.Adopted, int64(len(k.closed))+s.Ledger.Active+lost,
		"opened %d + adopted %d = closed %d + active %d + lost %v",
		s.Ledger.Opened, s.Ledger.Adopted, len(k.closed), s.Ledger.Active, s.Ledger.Lost[ledger.Connection])
}

func TestSockAddressFamilies(t *testing.T) {
	tests := []struct{ name, network, listen, dial, want string }{
		{"IPv4", "tcp4", "127.0.0.1:0", "127.0.0.1", "127.0.0.1"},
		{"IPv6", "tcp6", "[::1]:0", "::1", "::1"},
		{"IPv4 on an IPv6 socket", "tcp", "[::]:0", "127.0.0.1", "127.0.0.1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			enterNetNS(t)
			l := listen(t, test.network, test.listen)
			k := startProbe(t, testConfig(onlyPort(portOf(l.Addr()))))
			client, server := connect(t, l, test.dial)
			send(t, client, server, 10)
			finish(t, client, server)
			k.until("close", func() bool { return len(k.closedTo(portOf(l.Addr()))) == 1 })
			closed := k.closedTo(portOf(l.Addr()))[0]
			assert.Equal(t, test.want, closed.Server.Addr().String())
			assert.Equal(t, test.want, closed.Client.Addr().String())
			assert.Equal(t, test.want != "::1", closed.IPv4())
		})
	}
}

func TestSockMultipathSubflow(t *testing.T) {
	testbed.NeedKernel(t, testbed.MultipathTCP)
	enterNetNS(t)
	var config net.ListenConfig
	config.SetMultipathTCP(true)
	l, err := config.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	k := startProbe(t, testConfig(onlyPort(portOf(l.Addr()))))
	var dialer net.Dialer
	dialer.SetMultipathTCP(true)
	client, err := dialer.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	server, err := l.(*net.TCPListener).AcceptTCP()
	require.NoError(t, err)
	multipath, err := server.MultipathTCP()
	require.NoError(t, err)
	require.True(t, multipath, "the kernel fell back to TCP: net.mptcp.enabled")
	send(t, client, server, 10)
	require.NoError(t, client.Close())
	require.NoError(t, server.Close())
	k.until("close", func() bool { return len(k.closedTo(portOf(l.Addr()))) == 1 })
	assert.True(t, k.closedTo(portOf(l.Addr()))[0].MPTCP)
	k.balance()
}

func TestSockRefused(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		t.Run(address, func(t *testing.T) {
			enterNetNS(t)
			k := startProbe(t, testConfig(onlyPort(9)), refusedByReset)
			_, err := net.Dial("tcp", net.JoinHostPort(address, "9"))
			require.ErrorIs(t, err, unix.ECONNREFUSED)
			k.until("refusal", func() bool { return len(k.failed) == 1 })
			assert.Equal(t, connection.FailureRefused, k.failed[0].Type)
			assert.Equal(t, netip.MustParseAddrPort(net.JoinHostPort(address, "9")), k.failed[0].Server)
			s, _ := k.snapshot(0)
			assert.Contains(t, s.Ports, connection.PortCounter{
				NetNS: k.failed[0].NetNS, IPv4: address == "127.0.0.1", What: connection.Failures, Detail: "refused", Value: 1,
			})
		})
	}
}

// TestSockRefusedIsNotHalfOpen: an attempt at an address where nobody listens on a port
// that has a listener elsewhere. TC has begun to track it.
func TestSockRefusedIsNotHalfOpen(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig(func(c *Config) { c.HalfOpen = true }), refusedByReset)
	netns, err := netns.Current()
	require.NoError(t, err)
	client := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40001}
	key := shared.HalfOpenKey{Netns: netns}
	key.Flow.Local = netip.MustParseAddr("127.0.0.1").As16()
	key.Flow.Remote, key.Flow.LocalPort, key.Flow.RemotePort = key.Flow.Local, 9, uint16(client.Port)
	handshakes := k.probe.maps.Maps["half_open_handshakes"]
	require.NoError(t, handshakes.Put(&key, &shared.HalfOpen{First: 1}))

	_, err = (&net.Dialer{LocalAddr: &client}).Dial("tcp", "127.0.0.1:9")
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	k.until("refusal", func() bool { return len(k.failed) == 1 })
	assert.ErrorIs(t, handshakes.Lookup(&key, new(shared.HalfOpen)), ebpf.ErrKeyNotExist)
}

func TestSockRefusalsOverTheRateAreCountedAsLost(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig(onlyPort(9), func(c *Config) { c.FailedPerSecond = 3 }), refusedByReset)
	const attempts = 50
	for range attempts {
		_, err := net.Dial("tcp", "127.0.0.1:9")
		require.Error(t, err)
	}
	k.settle()
	s, _ := k.snapshot(0)
	lost := int64(0)
	for _, n := range s.Ledger.Lost[ledger.Failed] {
		lost += n
	}
	assert.EqualValues(t, attempts, s.Ledger.Produced[ledger.Failed])
	assert.EqualValues(t, attempts, int64(len(k.failed))+lost)
	assert.Positive(t, lost)
}

func TestSockAdoptsWhatWasOpen(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	client, server := connect(t, l, "127.0.0.1")
	send(t, client, server, 123)
	k := startProbe(t, testConfig(onlyPort(portOf(l.Addr()))), "live", "existing_connection")
	require.Len(t, k.listeners, 1)
	assert.EqualValues(t, os.Getpid(), k.listeners[0].Owner.PID)
	assert.Equal(t, netip.MustParseAddrPort(l.Addr().String()), k.listeners[0].Address)

	s, live := k.snapshot(portOf(l.Addr()))
	require.Len(t, live, 1)
	assert.EqualValues(t, 1, s.Ledger.Adopted)
	assert.True(t, live[0].Adopted)
	assert.EqualValues(t, 123, live[0].ReceivedBytes)
	assert.Equal(t, owner.ByHolder, live[0].Owner.Source)
	assert.EqualValues(t, os.Getpid(), live[0].Owner.PID)

	send(t, server, client, 77)
	finish(t, client, server)
	k.until("close", func() bool { return len(k.closed) == 1 })
	assert.True(t, k.closed[0].Adopted)
	assert.EqualValues(t, 123, k.closed[0].ReceivedBytes)
	assert.EqualValues(t, 77, k.closed[0].TransmittedBytes)
	k.balance()
}

// A connection that nobody has accepted yet: no process holds it, so only the scan
// of sockets finds it, here from outside its network namespace.
func TestSockAdoptsWhatNoProcessHolds(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	waiting, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer waiting.Close()
	inside := exec.Command("sleep", "60")
	file, err := l.File()
	require.NoError(t, err)
	inside.ExtraFiles = []*os.File{file}
	require.NoError(t, inside.Start())
	defer func() { _, _ = inside.Process.Kill(), inside.Wait() }()

	enterNetNS(t)
	k := startProbe(t, testConfig(onlyPort(portOf(l.Addr()))), "live", "orphan", "existing_listener")
	s, live := k.snapshot(portOf(l.Addr()))
	assert.EqualValues(t, 1, s.Ledger.Adopted)
	require.Len(t, live, 1)
	assert.Equal(t, waiting.LocalAddr().String(), live[0].Client.String())
	assert.Equal(t, owner.None, live[0].Owner.Source)
}

func TestSockConnectionMapFull(t *testing.T) {
	enterNetNS(t)
	const size, connections = 16, 40
	l := listen(t, "tcp4", "127.0.0.1:0")
	k := startProbe(t, testConfig(onlyPort(portOf(l.Addr())), func(c *Config) { c.MaxConnections = size }), "live")
	var ends [][2]*net.TCPConn
	for range connections {
		client, server := connect(t, l, "127.0.0.1")
		ends = append(ends, [2]*net.TCPConn{client, server})
	}
	s, live := k.snapshot(portOf(l.Addr()))
	assert.EqualValues(t, connections, s.Ledger.Opened)
	assert.EqualValues(t, connections-len(live), s.Ledger.Lost[ledger.Connection][ledger.MapFull])
	assert.LessOrEqual(t, len(live), size)
	for _, end := range ends {
		finish(t, end[0], end[1])
	}
	k.until("closes", func() bool { return len(k.closed) == len(live) })
	k.balance()
}

func TestSockRingFull(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	k := startProbe(t, testConfig(onlyPort(portOf(l.Addr())), func(c *Config) { c.RingBytes = 4096; c.OpenRecords = false }))
	const connections = 100
	for range connections {
		client, server := connect(t, l, "127.0.0.1")
		finish(t, client, server)
	}
	k.settle()
	s, _ := k.snapshot(0)
	assert.EqualValues(t, connections, s.Ledger.Opened)
	assert.Positive(t, s.Ledger.Lost[ledger.Connection][ledger.RingFull], "nothing was lost: the ring is too large for this test")
	k.balance()
}

func TestSockFindsListenersThatTheRingLost(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig(func(c *Config) { c.RingBytes = 4096 }), "existing_listener")
	const listeners = 60 // more than 4 KiB hold
	addresses := map[string]bool{}
	for range listeners {
		addresses[listen(t, "tcp4", "127.0.0.1:0").Addr().String()] = true
	}
	closed := listen(t, "tcp4", "127.0.0.1:0")
	require.NoError(t, closed.Close())
	k.settle()
	require.Less(t, len(k.listeners), listeners)
	k.snapshot(0)
	for _, l := range k.listeners {
		delete(addresses, l.Address.String())
	}
	assert.Empty(t, addresses)
	held := 0
	for _, l := range k.facts.listeners {
		if l.NetNS == k.netns {
			held++
		}
	}
	assert.Equal(t, listeners, held)
}

func TestSockListenerEndsWithItsLastSocket(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig())
	l := listen(t, "tcp4", "127.0.0.1:0")
	k.until("listener", func() bool { return len(k.listeners) == 1 })
	ports := k.probe.maps.Maps["listening_ports"]
	key := shared.PortKey{Netns: k.listeners[0].NetNS, Port: uint32(portOf(l.Addr()))}
	var value uint32
	require.NoError(t, ports.Lookup(&key, &value))
	require.NoError(t, l.Close())
	k.until("end of the listener", func() bool { return len(k.unlistens) == 1 })
	assert.Equal(t, k.listeners[0].Socket, k.unlistens[0])
	assert.Error(t, ports.Lookup(&key, &value))
}

// A hook that the kernel skipped leaves an entry whose socket is another's by now.
func TestSockForgetsConnectionsWhoseEndWasMissed(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	k := startProbe(t, testConfig(onlyPort(portOf(l.Addr()))), "live")
	require.Len(t, k.listeners, 1)
	missed := shared.Connection{Id: 1, Flow: shared.Flow{LocalPort: 1, RemotePort: 2}}
	require.NoError(t, k.probe.maps.Maps["connections"].Put(k.listeners[0].Socket, &missed))

	s, live := k.snapshot(1)
	assert.EqualValues(t, 1, s.Ledger.Active, "once may be a close under way")
	require.Len(t, live, 1)
	assert.Zero(t, live[0].ReceivedBytes, "the counters are another socket's")
	assert.Zero(t, live[0].TransmittedBytes)
	s, _ = k.snapshot(1)
	assert.EqualValues(t, 0, s.Ledger.Active)
	assert.EqualValues(t, 1, s.Ledger.Lost[ledger.Connection][ledger.MapStale])
}
