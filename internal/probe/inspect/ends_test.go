// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package inspect

import (
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// forged sends segments of a client that knows the ends of a connection and no number.
func forged(t *testing.T, client, server netip.AddrPort, change func(*layers.TCP)) {
	t.Helper()
	ip := wire.IPv4(func(ip *layers.IPv4) {
		ip.SrcIP, ip.DstIP = client.Addr().AsSlice(), server.Addr().AsSlice()
	})
	tcp := wire.Segment(func(tcp *layers.TCP) {
		tcp.SrcPort, tcp.DstPort = layers.TCPPort(client.Port()), layers.TCPPort(server.Port())
		tcp.Window = 1024
		change(tcp)
	})
	wire.Send(t, "lo", nil, wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), ip, tcp))
}

// TestInspectForgedEnd: a FIN or an RST outside of the server's window ends nothing, because the
// server goes on. A right one ends the connection.
func TestInspectForgedEnd(t *testing.T) {
	inNetNS(t)
	// Else IP drops what comes from outside with these addresses.
	require.NoError(t, os.WriteFile("/proc/sys/net/ipv4/conf/lo/route_localnet", []byte("1"), 0))
	r := startRig(t, config())
	listener, err := net.Listen("tcp", "127.0.0.1:8000")
	require.NoError(t, err)
	defer listener.Close()
	near, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer near.Close()
	far, err := listener.Accept()
	require.NoError(t, err)
	defer far.Close()
	_, err = io.WriteString(near, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	require.NoError(t, err)
	_, err = far.Read(make([]byte, 4096))
	require.NoError(t, err)
	s := r.drain()
	require.Len(t, s.segments, 1)
	next := s.segments[0].Sequence + uint32(len(s.segments[0].Data))

	client, server := near.LocalAddr().(*net.TCPAddr).AddrPort(), listener.Addr().(*net.TCPAddr).AddrPort()
	for _, distance := range []uint32{1 << 31, 1 << 30, 64 << 20, ^uint32(0) - 64<<20, ^uint32(0) - 1<<30} {
		for _, flags := range []func(*layers.TCP){
			func(tcp *layers.TCP) { tcp.RST, tcp.ACK = true, false },
			func(tcp *layers.TCP) { tcp.RST = true },
			func(tcp *layers.TCP) { tcp.FIN = true },
		} {
			forged(t, client, server, func(tcp *layers.TCP) {
				flags(tcp)
				tcp.Seq = next + distance
			})
		}
	}
	_, err = io.WriteString(far, "HTTP/1.1 204 No Content\r\n\r\n")
	require.NoError(t, err, "the server goes on")
	_, err = near.Read(make([]byte, 4096))
	require.NoError(t, err)
	s = r.drain()
	require.Len(t, s.segments, 1, "only the answer")
	assert.Equal(t, "HTTP/1.1 204 No Content\r\n\r\n", s.data[stream.ToClient].String())

	require.NoError(t, near.(*net.TCPConn).SetLinger(0))
	require.NoError(t, near.Close())
	var ends []stream.Segment
	wire.Within(t, 10*time.Second, func() bool {
		ends = append(ends, r.drain().segments...)
		return len(ends) > 0
	}, "no end")
	assert.True(t, ends[0].RST)
	assert.Equal(t, next, ends[0].Sequence)
}

// TestInspectFinOfClient: a FIN that the server accepts is told, also while it does not read.
func TestInspectFinOfClient(t *testing.T) {
	inNetNS(t)
	r := startRig(t, config())
	listener, err := net.Listen("tcp", "127.0.0.1:8000")
	require.NoError(t, err)
	defer listener.Close()
	near, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer near.Close()
	far, err := listener.Accept()
	require.NoError(t, err)
	defer far.Close()
	_, err = io.WriteString(near, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	require.NoError(t, err)
	require.NoError(t, near.(*net.TCPConn).CloseWrite())
	_, err = io.ReadAll(far)
	require.NoError(t, err)
	s := r.drain()
	require.NotEmpty(t, s.segments)
	assert.True(t, s.segments[len(s.segments)-1].FIN)
}
