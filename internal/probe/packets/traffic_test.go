// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package packets

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// A bulk transfer passes a veth pair in super-packets: what is counted are the
// segments that the socket counts, and their bytes with a header each.
func TestTCCountsRealTraffic(t *testing.T) {
	const size = 10 << 20
	const headers = 14 + 20 + 20 + 12 // with a timestamp
	for _, check := range []string{"0", "1"} {
		t.Run("forwarding "+check, func(t *testing.T) {
			wire.Enter(t)
			require.NoError(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte(check), 0o644))
			other := wire.NewPeer(t)
			other.Veth(t, "server")
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			b := startBench(t, config(included("server"), func(c *settings.Config) { c.PacketSampleRate = 0 }))
			require.Equal(t, check == "1", b.looksAtAddresses())

			listener, err := net.Listen("tcp4", "192.0.2.1:8080")
			require.NoError(t, err)
			defer func() { require.NoError(t, listener.Close()) }()
			var sendErr error
			var client *unix.TCPInfo
			go other.In(func() { client, sendErr = sendBulk(t, "192.0.2.1:8080", size) })
			server, err := listener.Accept()
			require.NoError(t, err)
			n, err := io.Copy(io.Discard, server)
			require.NoError(t, err)
			require.EqualValues(t, size, n)
			info := tcpInfo(t, server.(*net.TCPConn))
			require.NoError(t, server.Close())
			other.In(func() {})
			require.NoError(t, sendErr)

			in, out := b.of("server", false), b.of("server", true)
			require.Zero(t, info.Total_retrans)
			data := in.Packets[packet.Data]
			t.Logf("%d segments in %d of data", info.Segs_in, data)
			assert.EqualValues(t, 1, in.Packets[packet.SYN])
			assert.EqualValues(t, 1, out.Packets[packet.SYNACK])
			if fin := in.Packets[packet.FIN]; fin == 1 && in.Bytes[packet.FIN] == headers {
				// What the client sent twice came in twice.
				assert.EqualValues(t, size+client.Bytes_retrans+data*headers, in.Bytes[packet.Data])
			}
			assert.EqualValues(t, info.Segs_in, data+in.Packets[packet.ACK]+in.Packets[packet.FIN])
			assert.Zero(t, in.Forwarded+out.Forwarded)
			assert.Zero(t, in.Malformed)
			assert.GreaterOrEqual(t, data, uint64(size/9000))
			require.NoError(t, b.close())
		})
	}
}

// sendBulk returns what the sender's socket counted, when the other end has all.
func sendBulk(t *testing.T, address string, size int) (*unix.TCPInfo, error) {
	client, err := net.DialTimeout("tcp4", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if _, err := client.Write(make([]byte, size)); err != nil {
		return nil, err
	}
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, client); err != nil {
		return nil, err
	}
	return tcpInfo(t, client.(*net.TCPConn)), nil
}

func tcpInfo(t *testing.T, c *net.TCPConn) (info *unix.TCPInfo) {
	t.Helper()
	connection, err := c.SyscallConn()
	require.NoError(t, err)
	var infoErr error
	require.NoError(t, connection.Control(func(fd uintptr) {
		info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}))
	require.NoError(t, infoErr)
	return info
}
