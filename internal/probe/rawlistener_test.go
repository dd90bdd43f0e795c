// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// rawListener is a listening socket whose backlog the test chooses.
type rawListener struct {
	fd   int
	port uint16
	ipv6 bool
	// shared lets other sockets bind to the address.
	shared bool
}

// listenWith listens on loopback. Without bind, the kernel chooses the port in listen().
func listenWith(t *testing.T, domain, protocol, backlog int, bind bool) *rawListener {
	t.Helper()
	l := &rawListener{ipv6: domain == unix.AF_INET6}
	l.listen(t, domain, protocol, backlog, bind)
	return l
}

// listenOn listens on a port of loopback.
func listenOn(t *testing.T, port uint16, backlog int) *rawListener {
	t.Helper()
	l := &rawListener{port: port}
	l.listen(t, unix.AF_INET, unix.IPPROTO_TCP, backlog, true)
	return l
}

func (l *rawListener) listen(t *testing.T, domain, protocol, backlog int, bind bool) {
	t.Helper()
	l.open(t, domain, protocol)
	if bind {
		require.NoError(t, unix.Bind(l.fd, l.address()))
	}
	l.begin(t, backlog)
}

// listenAt listens at any address.
func (l *rawListener) listenAt(t *testing.T, domain int, address unix.Sockaddr, backlog int) {
	t.Helper()
	l.open(t, domain, unix.IPPROTO_TCP)
	if l.shared {
		require.NoError(t, unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	}
	require.NoError(t, unix.Bind(l.fd, address))
	l.begin(t, backlog)
}

func (l *rawListener) open(t *testing.T, domain, protocol int) {
	t.Helper()
	var err error
	l.fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, protocol)
	require.NoError(t, err)
	t.Cleanup(l.close)
}

func (l *rawListener) begin(t *testing.T, backlog int) {
	t.Helper()
	require.NoError(t, unix.Listen(l.fd, backlog))
	name, err := unix.Getsockname(l.fd)
	require.NoError(t, err)
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		l.port = uint16(name.Port)
	case *unix.SockaddrInet6:
		l.port = uint16(name.Port)
	}
}

// accept returns the descriptor of the next connection, which the test closes.
func (l *rawListener) accept(t *testing.T) int {
	t.Helper()
	fd, _, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC)
	require.NoError(t, err)
	return fd
}

func (l *rawListener) close() {
	if l.fd >= 0 {
		_ = unix.Close(l.fd)
		l.fd = -1
	}
}

func (l *rawListener) address() unix.Sockaddr {
	if l.ipv6 {
		return &unix.SockaddrInet6{Port: int(l.port), Addr: [16]byte{15: 1}}
	}
	return &unix.SockaddrInet4{Port: int(l.port), Addr: [4]byte{127, 0, 0, 1}}
}

// call begins n connections and waits for none. On loopback their SYNs have been handled when
// it returns.
func (l *rawListener) call(t *testing.T, n int) {
	t.Helper()
	domain := unix.AF_INET
	if l.ipv6 {
		domain = unix.AF_INET6
	}
	for range n {
		fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		require.NoError(t, err)
		t.Cleanup(func() { _ = unix.Close(fd) })
		require.ErrorIs(t, unix.Connect(fd, l.address()), unix.EINPROGRESS)
	}
}

// kernelQueues is what ss -ltn shows, and the number of handshakes in progress.
func (l *rawListener) kernelQueues(t *testing.T) (receive, send uint32, requests int) {
	t.Helper()
	family := uint8(unix.AF_INET)
	if l.ipv6 {
		family = unix.AF_INET6
	}
	sockets, err := netlink.SocketDiagTCP(family)
	require.NoError(t, err)
	for _, s := range sockets {
		if s.ID.SourcePort != l.port {
			continue
		}
		switch s.State {
		case netlink.TCP_LISTEN:
			receive, send = s.RQueue, s.WQueue
		case netlink.TCP_SYN_RECV:
			requests++
		}
	}
	return receive, send, requests
}

// netstat is a counter of the thread's network namespace.
func netstat(t *testing.T, name string) uint64 {
	t.Helper()
	value, err := readNetstat(name)
	require.NoError(t, err)
	return value
}

func readNetstat(name string) (uint64, error) {
	data, err := os.ReadFile("/proc/thread-self/net/netstat")
	if err != nil {
		return 0, err
	}
	lines := strings.Split(string(data), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		if at := slices.Index(names, name); at > 0 && names[0] == "TcpExt:" {
			return strconv.ParseUint(values[at], 10, 64)
		}
	}
	return 0, fmt.Errorf("there is no counter %s", name)
}
