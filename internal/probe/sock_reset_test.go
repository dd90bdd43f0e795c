// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// download exceeds the buffers of both ends.
const download = 1_500_000

// offer writes a download, whether the client reads it or not.
func offer(t *testing.T, server *net.TCPConn) {
	t.Helper()
	raw, err := server.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		// Beyond net.core.wmem_max.
		assert.NoError(t, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*download))
	}))
	require.NoError(t, server.SetDeadline(time.Now().Add(time.Minute)))
	_, err = server.Write(make([]byte, download))
	require.NoError(t, err)
}

// TestSockClientResetsAfterTheServerClosed: the client resets after the server has answered and
// closed, or has only shut down its sending side.
func TestSockClientResetsAfterTheServerClosed(t *testing.T) {
	reset := func(t *testing.T, client *net.TCPConn) {
		require.NoError(t, client.SetLinger(0))
		require.NoError(t, client.Close())
	}
	tests := map[string]func(t *testing.T, client, server *net.TCPConn){
		"of a download that it aborts": func(t *testing.T, client, server *net.TCPConn) {
			offer(t, server)
			require.NoError(t, server.Close())
			_, err := client.Read(make([]byte, 1000))
			require.NoError(t, err)
			require.NoError(t, client.Close(), "with unread data")
		},
		"after its request was read slowly": func(t *testing.T, client, server *net.TCPConn) {
			offer(t, server)
			require.NoError(t, server.CloseWrite())
			send(t, client, server, 1000) // a lingering close
			require.NoError(t, server.Close())
			reset(t, client)
		},
		"after it has read all": func(t *testing.T, client, server *net.TCPConn) {
			send(t, server, client, 1000)
			require.NoError(t, server.CloseWrite())
			_, err := client.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
			reset(t, client)
		},
		"of a server that reads no more": func(t *testing.T, client, server *net.TCPConn) {
			offer(t, server)
			require.NoError(t, server.CloseRead())
			require.NoError(t, server.CloseWrite())
			reset(t, client)
		},
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			enterNetNS(t)
			l := listen(t, "tcp4", "127.0.0.1:0")
			port := portOf(l.Addr())
			k := startProbe(t, testConfig(onlyPort(port)))
			client, server := connect(t, l, "127.0.0.1")
			require.NoError(t, client.SetReadBuffer(1000))
			send(t, client, server, 33)
			end(t, client, server)
			k.until("close", func() bool { return len(k.closed) == 1 })
			assert.Equal(t, connection.CloseClientReset.String(), k.closed[0].Reason.String())
			assert.EqualValues(t, 1, k.counted(port, connection.ResetsReceived, ""))
			k.balance()
		})
	}
}

// TestSockLateDataIsNoClientReset: the kernel answers data after close() with a reset. The
// server closed first, and the client sent no reset.
func TestSockLateDataIsNoClientReset(t *testing.T) {
	tests := map[string]func(t *testing.T, client, server *net.TCPConn){
		"shut down both ways": func(t *testing.T, _, server *net.TCPConn) {
			require.NoError(t, server.CloseRead())
			require.NoError(t, server.CloseWrite())
		},
		"closed": func(t *testing.T, _, server *net.TCPConn) { require.NoError(t, server.Close()) },
		"closed while the client was slow to read": func(t *testing.T, client, server *net.TCPConn) {
			require.NoError(t, client.SetReadBuffer(1000))
			offer(t, server)
			require.NoError(t, server.Close())
		},
		"closed after a lingering close": func(t *testing.T, client, server *net.TCPConn) {
			require.NoError(t, server.CloseWrite())
			send(t, client, server, 1000)
			require.NoError(t, server.Close())
		},
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			enterNetNS(t)
			l := listen(t, "tcp4", "127.0.0.1:0")
			port := portOf(l.Addr())
			k := startProbe(t, testConfig(onlyPort(port)))
			client, server := connect(t, l, "127.0.0.1")
			send(t, client, server, 33)
			end(t, client, server)
			_, err := client.Write([]byte("late"))
			require.NoError(t, err)
			k.until("close", func() bool { return len(k.closed) == 1 })
			assert.Equal(t, connection.CloseServerFIN.String(), k.closed[0].Reason.String())
			s, _ := k.snapshot(port)
			for _, counter := range s.Ports {
				assert.NotEqual(t, connection.ResetsReceived, counter.What)
			}
		})
	}
}

// TestSockDataThatMeetTheCloseAreNoClientReset: the client sends while the server closes. A
// segment that meets close() itself waits until close() releases the socket.
func TestSockDataThatMeetTheCloseAreNoClientReset(t *testing.T) {
	enterNetNS(t)
	steerLoopback(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	port := portOf(l.Addr())
	k := startProbe(t, testConfig(onlyPort(port), func(c *Config) { c.RingBytes = 16 << 20 }))
	rounds := 3000
	if wire.Emulated() {
		rounds = 300
	}
	for range rounds {
		client, server := connect(t, l, "127.0.0.1")
		var ends sync.WaitGroup
		ends.Go(func() { _, _ = client.Write([]byte("late")) })
		ends.Go(func() { _ = server.Close() })
		ends.Wait()
		_, err := io.Copy(io.Discard, client)
		if err != nil {
			require.ErrorIs(t, err, unix.ECONNRESET)
		}
		require.NoError(t, client.Close())
	}
	k.settle()
	// On a kernel that hides a process: see TestSockBalancesUnderInterrupts.
	require.Greater(t, len(k.closed), rounds*98/100)
	reasons := make(map[string]int)
	for _, closed := range k.closed {
		reasons[closed.Reason.String()]++
	}
	t.Log(reasons)
	assert.Zero(t, reasons[connection.CloseClientReset.String()], "the client resets none")
}
