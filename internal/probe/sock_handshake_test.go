// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// setSysctl sets one of the thread's network namespace.
func setSysctl(t *testing.T, name, value string) {
	t.Helper()
	require.NoError(t, os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644))
}

// The kernel does not measure handshakes with cookies, because the cookie uses the lower bits
// of the timestamp.
func TestSockHandshakeBySYNCookie(t *testing.T) {
	for _, timestamps := range []string{"0", "1", "2"} { // 2: without a random offset
		t.Run("timestamps "+timestamps, func(t *testing.T) {
			enterNetNS(t)
			setSysctl(t, "ipv4/tcp_timestamps", timestamps)
			setSysctl(t, "ipv4/tcp_ecn", "1")
			setSysctl(t, "ipv4/tcp_syncookies", "2") // always
			l := listen(t, "tcp", "[::]:0")
			require.NoError(t, l.SetDeadline(time.Now().Add(time.Minute)))
			k := startProbe(t, testConfig(onlyPort(portOf(l.Addr()))))
			const connections = 30
			for i := range connections {
				client, server := connect(t, l, []string{"127.0.0.1", "::1"}[i%2])
				finish(t, client, server)
			}
			k.until("closes", func() bool { return len(k.closed) == connections })
			require.EqualValues(t, connections, netstat(t, "SyncookiesRecv"))
			for _, closed := range k.closed {
				assert.Zero(t, closed.Handshake)
				assert.Zero(t, closed.HandshakeRTT)
			}
		})
	}
}

// thought is how long a client waits before it sends its request.
const thought = 400 * time.Millisecond

func listenDeferred(t *testing.T) *net.TCPListener {
	t.Helper()
	config := net.ListenConfig{Control: setting(unix.TCP_DEFER_ACCEPT, 1)}
	config.SetMultipathTCP(false)
	l, err := config.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

// The handshake's own ACK is dropped. The client's pause does not count.
func TestSockHandshakeOfDeferredAccept(t *testing.T) {
	for _, request := range []string{"request", ""} {
		t.Run("request "+request, func(t *testing.T) {
			enterNetNS(t)
			l := listenDeferred(t)
			k := startProbe(t, testConfig(onlyPort(portOf(l.Addr()))))
			client, err := net.Dial("tcp4", l.Addr().String())
			require.NoError(t, err)
			time.Sleep(thought)
			if request != "" {
				_, err = client.Write([]byte(request))
				require.NoError(t, err)
			} // else the kernel sends the SYN-ACK again, after a second
			server, err := l.AcceptTCP()
			require.NoError(t, err)
			require.NoError(t, client.(*net.TCPConn).SetLinger(0))
			require.NoError(t, client.Close())
			k.until("close", func() bool { return len(k.closed) == 1 })
			require.NoError(t, server.Close())
			require.Positive(t, netstat(t, "TCPDeferAcceptDrop"))
			assert.Zero(t, k.closed[0].HandshakeRTT)
			assert.Zero(t, k.closed[0].Handshake)
		})
	}
}

// The same if the state hook misses the beginning, and accept finds it.
func TestSockHandshakeOfDeferredAcceptFoundLate(t *testing.T) {
	enterNetNS(t)
	l := listenDeferred(t)
	k := startProbe(t, testConfig(onlyPort(portOf(l.Addr()))))
	client, err := net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	time.Sleep(thought)
	_, err = client.Write([]byte("request"))
	require.NoError(t, err)
	k.until("open", func() bool { return len(k.opened) == 1 })
	forgetConnections(t, k)
	server, err := l.AcceptTCP()
	require.NoError(t, err)
	require.NoError(t, client.(*net.TCPConn).SetLinger(0))
	require.NoError(t, client.Close())
	k.until("close", func() bool { return len(k.closed) == 1 })
	require.NoError(t, server.Close())
	assert.Zero(t, k.closed[0].HandshakeRTT)
	assert.Zero(t, k.closed[0].Handshake)
}
