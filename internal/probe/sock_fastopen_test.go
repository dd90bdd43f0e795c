// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
)

// fastRequest comes with the SYN.
var fastRequest = []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")[:33]

// fastOpen is a listener for TCP Fast Open without cookies, and a client of its own.
type fastOpen struct {
	*net.TCPListener
	port   uint16
	client *net.TCPConn
}

func listenFastOpen(t *testing.T) *fastOpen {
	t.Helper()
	setSysctl(t, "ipv4/tcp_fastopen", fmt.Sprint(0x1|0x2|0x4|0x200))
	config := net.ListenConfig{Control: setting(unix.TCP_FASTOPEN, 16)}
	config.SetMultipathTCP(false)
	l, err := config.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return &fastOpen{TCPListener: l.(*net.TCPListener), port: portOf(l.Addr())}
}

// setting sets an option of TCP before the socket is bound.
func setting(option, value int) func(_, _ string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, option, value)
		})
		return errors.Join(err, failed)
	}
}

// request sends fastRequest with the SYN and accepts. With acknowledged unset the server
// gets no ACK, and its socket stays in SYN_RECV.
func (f *fastOpen) request(t *testing.T, acknowledged bool) (server *net.TCPConn) {
	t.Helper()
	if !acknowledged {
		dropSegments(t, fmt.Sprintf("tcp dport %d tcp flags & (syn|ack) == ack", f.port))
	}
	// A retransmitted SYN, as in a stalled guest, has no data. Without the ACK accept
	// then waits for ever.
	err := errors.New("never tried")
	for tries := 0; err != nil && tries < 5; tries++ {
		f.send(t)
		require.NoError(t, f.SetDeadline(time.Now().Add(3*time.Second)))
		if server, err = f.AcceptTCP(); err != nil {
			_ = f.client.Close()
		}
	}
	require.NoError(t, err)
	require.NoError(t, server.SetDeadline(time.Now().Add(time.Minute)))
	t.Cleanup(func() { _ = server.Close() })
	_, err = io.ReadFull(server, make([]byte, len(fastRequest)))
	require.NoError(t, err)
	_, err = server.Write([]byte("answer"))
	require.NoError(t, err)
	return server
}

// send connects a new client, whose SYN has the request.
func (f *fastOpen) send(t *testing.T) {
	t.Helper()
	dialer := net.Dialer{Control: setting(unix.TCP_FASTOPEN_CONNECT, 1)}
	dialer.SetMultipathTCP(false)
	client, err := dialer.Dial("tcp4", f.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	f.client = client.(*net.TCPConn)
	_, err = f.client.Write(fastRequest)
	require.NoError(t, err)
}

// TestSockFastOpenEndsBeforeItIsEstablished: the application accepts, reads a request and
// answers it before the handshake's ACK arrives.
func TestSockFastOpenEndsBeforeItIsEstablished(t *testing.T) {
	tests := []struct {
		reason connection.CloseReason
		source owner.Source
		end    func(t *testing.T, f *fastOpen, server *net.TCPConn)
	}{
		{connection.CloseServerReset, owner.ByCloser, func(t *testing.T, _ *fastOpen, server *net.TCPConn) {
			require.NoError(t, server.SetLinger(0))
			require.NoError(t, server.Close())
		}},
		{connection.CloseClientReset, owner.None, func(t *testing.T, f *fastOpen, _ *net.TCPConn) {
			nft(t, "flush ruleset")
			require.NoError(t, f.client.SetLinger(0))
			require.NoError(t, f.client.Close())
		}},
		{connection.CloseTimeout, owner.None, func(*testing.T, *fastOpen, *net.TCPConn) {}},
	}
	for _, test := range tests {
		t.Run(test.reason.String(), func(t *testing.T) {
			enterNetNS(t)
			f := listenFastOpen(t)
			k := startProbe(t, testConfig(onlyPort(f.port)))
			setSysctl(t, "ipv4/tcp_synack_retries", "0")
			server := f.request(t, false)
			client := f.client.LocalAddr().(*net.TCPAddr).AddrPort()
			require.Empty(t, k.opened)
			test.end(t, f, server)
			k.until("close", func() bool { return len(k.closed) == 1 })
			closed := k.closed[0]
			assert.Equal(t, test.reason.String(), closed.Reason.String())
			assert.Equal(t, client, closed.Client)
			assert.Equal(t, f.Addr().(*net.TCPAddr).AddrPort(), closed.Server)
			assert.EqualValues(t, len(fastRequest), closed.ReceivedBytes)
			assert.Zero(t, closed.Handshake)
			assert.Zero(t, closed.HandshakeRTT)
			assert.Equal(t, test.source, closed.Owner.Source)
			if test.source == owner.ByCloser {
				assert.EqualValues(t, os.Getpid(), closed.Owner.PID)
			}
			assert.Len(t, k.opened, 1)
			k.balance()
			s, _ := k.snapshot(f.port)
			assert.EqualValues(t, 1, s.Ledger.Opened)
		})
	}
}

// TestSockFastOpenClosedBeforeItIsEstablished: an orderly close by the server precedes the
// ACK. Some kernels send the FIN at once. Others send it in the interrupt of the ACK, during
// which any process can be current.
func TestSockFastOpenClosedBeforeItIsEstablished(t *testing.T) {
	enterNetNS(t)
	f := listenFastOpen(t)
	k := startProbe(t, testConfig(onlyPort(f.port)))
	server := f.request(t, false)
	require.NoError(t, server.CloseWrite())
	source := owner.ByCloser
	if waits := stateOf(t, server) == unix.BPF_TCP_SYN_RECV; waits {
		source = owner.None
	}
	nft(t, "flush ruleset")
	_, err := io.ReadAll(f.client)
	require.NoError(t, err)
	require.NoError(t, f.client.Close())
	k.until("close", func() bool { return len(k.closed) == 1 })
	assert.Equal(t, connection.CloseServerFIN.String(), k.closed[0].Reason.String())
	assert.EqualValues(t, len(fastRequest), k.closed[0].ReceivedBytes)
	assert.EqualValues(t, len("answer"), k.closed[0].TransmittedBytes)
	assert.Equal(t, source, k.closed[0].Owner.Source)
	k.balance()
}

// stateOf is the kernel's state of a connection.
func stateOf(t *testing.T, c *net.TCPConn) uint8 {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	var info *unix.TCPInfo
	var failed error
	require.NoError(t, raw.Control(func(fd uintptr) {
		info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}))
	require.NoError(t, failed)
	return info.State
}

// TestSockFastOpenEstablished: data precede an ordinary handshake.
func TestSockFastOpenEstablished(t *testing.T) {
	enterNetNS(t)
	f := listenFastOpen(t)
	k := startProbe(t, testConfig(onlyPort(f.port)))
	server := f.request(t, true)
	finish(t, f.client, server)
	k.until("close", func() bool { return len(k.closed) == 1 })
	require.Positive(t, netstat(t, "TCPFastOpenPassive"))
	assert.Equal(t, connection.CloseClientFIN.String(), k.closed[0].Reason.String())
	assert.Positive(t, k.closed[0].Handshake)
	assert.Positive(t, k.closed[0].HandshakeRTT)
	assert.Len(t, k.opened, 1)
	k.balance()
}

// TestSockFastOpenWithoutBacklog: the connection is accepted before it leaves SYN_RECV, so the
// other signs of a passive open are gone.
func TestSockFastOpenWithoutBacklog(t *testing.T) {
	testbed.NeedKernel(t, testbed.FastOpenWithoutBacklog)
	enterNetNS(t)
	f := listenFastOpen(t)
	raw, err := f.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { assert.NoError(t, unix.Listen(int(fd), 0)) }))
	k := startProbe(t, testConfig(onlyPort(f.port)))
	server := f.request(t, false)
	nft(t, "flush ruleset")
	finish(t, f.client, server)
	k.until("close", func() bool { return len(k.closed) == 1 })
	assert.Len(t, k.opened, 1)
	k.balance()
}
