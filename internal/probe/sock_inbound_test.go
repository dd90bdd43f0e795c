// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// shareAddress lets sockets bind to one address, whatever they do with it.
func shareAddress(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(err, failed)
}

// listenShared listens where other sockets may bind, too.
func listenShared(t *testing.T, address string) *net.TCPListener {
	t.Helper()
	config := net.ListenConfig{Control: shareAddress}
	config.SetMultipathTCP(false)
	l, err := config.Listen(t.Context(), "tcp4", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

// dialShared connects from an address that may be a listener's, too.
func dialShared(local, remote net.Addr) (*net.TCPConn, error) {
	dialer := net.Dialer{LocalAddr: local, Control: shareAddress, Timeout: 10 * time.Second}
	dialer.SetMultipathTCP(false)
	c, err := dialer.Dial("tcp4", remote.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// onlyPorts is onlyPort for several.
func onlyPorts(ports ...uint16) func(*Config) {
	return func(c *Config) {
		for _, port := range ports {
			c.IncludePorts = append(c.IncludePorts, PortRange{First: port, Last: port})
		}
	}
}

func loopback(port int) *net.TCPAddr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port} }

// tells fails unless exactly these local ports were reported as inbound, opened and closed.
func (k *kernel) tells(ports ...uint16) {
	k.t.Helper()
	k.settle()
	var opened, closed []uint16
	for _, c := range k.opened {
		opened = append(opened, c.Server.Port())
	}
	for _, c := range k.closed {
		closed = append(closed, c.Server.Port())
	}
	assert.Equal(k.t, ports, opened)
	assert.Equal(k.t, ports, closed)
	k.balance()
}

func TestSockSelfConnectIsOutbound(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig(onlyPort(40001)))
	self, err := dialShared(loopback(40001), loopback(40001))
	require.NoError(t, err)
	send(t, self, self, 10)
	require.NoError(t, self.Close())
	k.tells()
}

// TestSockCrossedHandshakeIsOutbound: a SYN answers a client's SYN. If both ends get a SYN
// instead of a SYN-ACK, it is a simultaneous open. The first end cannot know.
func TestSockCrossedHandshakeIsOutbound(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig(onlyPorts(40001, 40002)))
	// The first SYN gets lost, so that the second meets a socket in SYN_SENT.
	dropSegments(t, "tcp sport 40001 tcp dport 40002 tcp flags == syn")
	first, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	require.NoError(t, err)
	require.NoError(t, unix.Bind(first, &unix.SockaddrInet4{Port: 40001, Addr: [4]byte{127, 0, 0, 1}}))
	to := &unix.SockaddrInet4{Port: 40002, Addr: [4]byte{127, 0, 0, 1}}
	require.ErrorIs(t, unix.Connect(first, to), unix.EINPROGRESS)
	second, err := dialShared(loopback(40002), loopback(40001))
	require.NoError(t, err)
	require.NoError(t, unix.Connect(first, to), "is connected")
	require.NoError(t, unix.Shutdown(first, unix.SHUT_WR))
	_, err = io.ReadAll(second)
	require.NoError(t, err)
	require.NoError(t, second.Close())
	require.NoError(t, unix.Close(first))
	k.tells()
}

// TestSockNewWithoutBacklog: the inherited backlog of listen(fd, 0) is no sign of a listener.
func TestSockNewWithoutBacklog(t *testing.T) {
	for name, domain := range map[string]int{"IPv4": unix.AF_INET, "IPv6": unix.AF_INET6} {
		t.Run(name, func(t *testing.T) {
			enterNetNS(t)
			l := listenWith(t, domain, unix.IPPROTO_TCP, 0, true)
			k := startProbe(t, testConfig(onlyPort(l.port)))
			l.call(t, 1)
			server := l.accept(t)
			require.NoError(t, unix.Close(server))
			k.until("open", func() bool { return len(k.opened) == 1 })
			assert.Equal(t, l.port, k.opened[0].Server.Port())
			assert.False(t, k.opened[0].Adopted)
		})
	}
}

// TestSockAdoptsWithoutBacklog: connections that were open before, of listeners with a backlog
// of 0 at the address, at any address, and at any address of both families.
func TestSockAdoptsWithoutBacklog(t *testing.T) {
	tests := map[string]struct {
		domain        int
		listen, dials unix.Sockaddr
	}{
		"at the address":  {unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}},
		"at any":          {unix.AF_INET, &unix.SockaddrInet4{}, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 9}}},
		"at any IPv6":     {unix.AF_INET6, &unix.SockaddrInet6{}, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}},
		"at any for IPv4": {unix.AF_INET6, &unix.SockaddrInet6{}, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 9}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			enterNetNS(t)
			l := &rawListener{ipv6: test.domain == unix.AF_INET6}
			l.listenAt(t, test.domain, test.listen, 0)
			client := dial(t, atPort(test.dials, l.port))
			server := l.accept(t)
			// Still in the queue, and held by no process.
			dial(t, atPort(test.dials, l.port))
			k := startProbe(t, testConfig(onlyPort(l.port)))
			s, live := k.snapshot(l.port)
			assert.EqualValues(t, 2, s.Ledger.Adopted)
			assert.Len(t, live, 2)
			require.NoError(t, unix.Close(server))
			// Otherwise it can stay in FIN_WAIT2 for a minute.
			require.NoError(t, unix.Shutdown(client, unix.SHUT_WR))
			k.until("close", func() bool { return len(k.closed) == 1 })
			k.balance()
		})
	}
}

// TestSockOutboundFromAListenersPort: a connection that was open before, from a port with a
// listener. That listens at another address, or with a backlog that the socket lacks.
func TestSockOutboundFromAListenersPort(t *testing.T) {
	for name, backlog := range map[string]int{"with a backlog": 5, "without a backlog": 0} {
		for _, address := range []string{"127.0.0.1", "127.0.0.2"} {
			if backlog == 0 && address == "127.0.0.1" {
				continue // can't be told apart
			}
			t.Run(name+" at "+address, func(t *testing.T) {
				enterNetNS(t)
				l := &rawListener{shared: true}
				at := netip.MustParseAddr(address).As4()
				l.listenAt(t, unix.AF_INET, &unix.SockaddrInet4{Addr: at}, backlog)
				remote := listen(t, "tcp4", "127.0.0.3:0")
				client, err := dialShared(loopback(int(l.port)), remote.Addr())
				require.NoError(t, err)
				defer client.Close()
				server, err := remote.AcceptTCP()
				require.NoError(t, err)
				k := startProbe(t, testConfig(onlyPort(l.port)))
				s, live := k.snapshot(l.port)
				assert.Zero(t, s.Ledger.Adopted)
				assert.Empty(t, live)
				finish(t, client, server)
				k.tells()
			})
		}
	}
}

// TestSockForgetsListenersWithoutBacklog: the address is forgotten with its last listener.
func TestSockForgetsListenersWithoutBacklog(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig())
	first := &rawListener{shared: true}
	first.listenAt(t, unix.AF_INET6, &unix.SockaddrInet6{}, 0)
	second := &rawListener{shared: true, port: first.port}
	second.listenAt(t, unix.AF_INET6, &unix.SockaddrInet6{Port: int(first.port)}, 0)
	k.until("listeners", func() bool { return len(k.listeners) == 2 })
	count := func() (n int) {
		var key shared.BackloglessKey
		var value uint32
		entries := k.probe.maps.Maps["backlogless_listeners"].Iterate()
		for entries.Next(&key, &value) {
			if key.Netns == k.netns {
				n++
			}
		}
		require.NoError(t, entries.Err())
		return n
	}
	assert.Equal(t, 2, count(), "one for each family")
	first.close()
	k.until("end", func() bool { return len(k.unlistens) == 1 })
	assert.Equal(t, 2, count())
	second.close()
	k.until("end", func() bool { return len(k.unlistens) == 2 })
	assert.Zero(t, count())
}

// TestSockAdoptsWhatAClosedListenerAccepted: a server that shuts down accepts no more,
// and drains what is open.
func TestSockAdoptsWhatAClosedListenerAccepted(t *testing.T) {
	enterNetNS(t)
	const connections = 5
	l := listen(t, "tcp4", "127.0.0.1:0")
	port := portOf(l.Addr())
	var ends [][2]*net.TCPConn
	for range connections {
		client, server := connect(t, l, "127.0.0.1")
		ends = append(ends, [2]*net.TCPConn{client, server})
	}
	require.NoError(t, l.Close())
	k := startProbe(t, testConfig(onlyPort(port)))
	s, live := k.snapshot(port)
	assert.EqualValues(t, connections, s.Ledger.Adopted)
	assert.Len(t, live, connections)
	for _, end := range ends {
		finish(t, end[1], end[0])
	}
	k.until("closes", func() bool { return len(k.closed) == connections })
	for _, closed := range k.closed {
		assert.True(t, closed.Adopted)
		assert.Equal(t, connection.CloseServerFIN.String(), closed.Reason.String())
		assert.Equal(t, owner.ByCloser, closed.Owner.Source)
	}
	k.balance()
}

// TestSockBeginningMissedWithoutBacklog: without a hook at accept, a beginning that the state
// hook missed is found when the server closes.
func TestSockBeginningMissedWithoutBacklog(t *testing.T) {
	enterNetNS(t)
	l := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 0, true)
	k := startProbe(t, testConfig(onlyPort(l.port)))
	k.without(hook.FeatureAccept)
	require.Len(t, k.listeners, 1)
	l.call(t, 1)
	server := l.accept(t)
	k.until("open", func() bool { return len(k.opened) == 1 })
	forgetConnections(t, k)
	require.NoError(t, unix.Shutdown(server, unix.SHUT_WR))
	_, live := k.snapshot(l.port)
	require.Len(t, live, 1)
	assert.True(t, live[0].Adopted)
	require.NoError(t, unix.Close(server))
}

// without detaches a feature's hooks.
func (k *kernel) without(feature string) {
	k.t.Helper()
	for _, a := range k.probe.sockets.Attachments {
		if a.Name == feature {
			require.NoError(k.t, a.Detach())
		}
	}
}

// dial connects without waiting for the server.
func dial(t *testing.T, to unix.Sockaddr) (fd int) {
	t.Helper()
	domain := unix.AF_INET
	if _, ipv6 := to.(*unix.SockaddrInet6); ipv6 {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.Connect(fd, to))
	return fd
}

func atPort(to unix.Sockaddr, port uint16) unix.Sockaddr {
	switch to := to.(type) {
	case *unix.SockaddrInet4:
		return &unix.SockaddrInet4{Addr: to.Addr, Port: int(port)}
	case *unix.SockaddrInet6:
		return &unix.SockaddrInet6{Addr: to.Addr, Port: int(port)}
	}
	panic(fmt.Sprintf("%T has no port", to))
}
