// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
)

// eachWay runs a test once for each way to a feature that this kernel has, with the
// other features as they are. A way that is refused has to say why; which ones are
// refused where is held by the diagnosis' golden files.
func eachWay(t *testing.T, name string, cfg Config, test func(t *testing.T, k *kernel)) {
	for _, f := range featureTable(&cfg, &kernelFacts{}) {
		if f.name != name {
			continue
		}
		for _, w := range f.ways {
			t.Run(string(w[0].kind), func(t *testing.T) {
				enterNetNS(t)
				only := cfg
				only.onlyWay = map[string]string{name: string(w[0].kind)}
				k := startWith(t, only, name)
				if !k.probe.attached(name) {
					k.explains(name, w[0].kind)
					return
				}
				test(t, k)
			})
		}
	}
}

// startWith is startProbe where one feature may be missing.
func startWith(t *testing.T, cfg Config, optional string) *kernel {
	t.Helper()
	p, err := New(cfg, zaptest.NewLogger(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	netns, err := currentNetNS()
	require.NoError(t, err)
	k := &kernel{recorder: &recorder{netns: netns}, probe: p, t: t}
	require.NoError(t, p.Start(k))
	for _, hook := range p.Hooks() {
		if hook.Feature != optional {
			require.NoErrorf(t, hook.Err, "%s (%s)", hook.Name, hook.Gives)
		}
	}
	return k
}

func (k *kernel) explains(feature string, kind hookKind) {
	k.t.Helper()
	for _, hook := range k.probe.Hooks() {
		if hook.Feature == feature {
			assert.False(k.t, hook.Attached)
			assert.ErrorContains(k.t, hook.Err, " "+string(kind)+"/")
			assert.NotContains(k.t, hook.Err.Error(), "\n")
			return
		}
	}
	k.t.Errorf("no hook tells of %s", feature)
}

func TestSockAcceptWays(t *testing.T) {
	const waited = 30 * time.Millisecond
	eachWay(t, acceptFeature, testConfig(), func(t *testing.T, k *kernel) {
		l := listen(t, "tcp", "[::]:0")
		for i, address := range []string{"127.0.0.1", "::1"} {
			client, err := net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(int(portOf(l.Addr())))))
			require.NoError(t, err)
			time.Sleep(waited) // in the accept queue
			before := time.Now()
			server, err := l.AcceptTCP()
			require.NoError(t, err)
			// The client ends it, so that closing names nobody.
			require.NoError(t, client.(*net.TCPConn).SetLinger(0))
			require.NoError(t, client.Close())
			k.until("close", func() bool { return len(k.closed) == i+1 })
			require.NoError(t, server.Close())
			closed := k.closed[i]
			assert.Equal(t, owner.ByAcceptor, closed.Owner.Source)
			assert.EqualValues(t, os.Getpid(), closed.Owner.PID)
			assert.GreaterOrEqual(t, closed.Accept, int64(waited))
			assert.Less(t, closed.Accept, int64(waited+time.Since(before)+time.Second))
		}
	})
}

// listenBacklog listens with a queue that the kernel calls full at backlog+1.
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

// listenOverflows is the kernel's own count in the thread's network namespace.
func listenOverflows(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/net/netstat")
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	for i := range lines[:len(lines)-1] {
		for column, name := range strings.Fields(lines[i]) {
			if name == "ListenOverflows" {
				n, err := strconv.Atoi(strings.Fields(lines[i+1])[column])
				require.NoError(t, err)
				return n
			}
		}
	}
	require.Fail(t, "the kernel has no ListenOverflows")
	return 0
}

func TestSockAcceptQueueOverflowWays(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		t.Run(address, func(t *testing.T) {
			cfg := testConfig(func(c *Config) { c.Overflows = true })
			eachWay(t, overflowFeature, cfg, func(t *testing.T, k *kernel) {
				testOverflow(t, k, address)
			})
		})
	}
}

// testOverflow makes both kinds: at the SYN, and at the ACK of a handshake that began
// while there was room.
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
		kernel := listenOverflows(t)
		counted := int(k.counted(port, connection.Failures, connection.FailureAcceptQueueOverflow.String()))
		return counted == kernel && len(k.failed) == kernel && k.queueOverflows(port) == kernel
	})
	for _, f := range k.failed {
		assert.Equal(t, connection.FailureAcceptQueueOverflow.String(), f.Type.String())
		assert.Equal(t, netip.MustParseAddr(address), f.Client.Addr())
		assert.Equal(t, netip.AddrPortFrom(netip.MustParseAddr(address), port), f.Server)
	}
}

// queueOverflows is what the listeners of a port have turned away.
func (k *kernel) queueOverflows(port uint16) int {
	k.t.Helper()
	s, _ := k.snapshot(port)
	sum := 0
	for _, q := range s.Queues {
		if key, known := k.probe.decoder.listeners.sockets[q.Socket]; known && key.Netns == k.netns && key.Port == uint32(port) {
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
			k := startProbe(t, testConfig(onlyPort(port)))

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
