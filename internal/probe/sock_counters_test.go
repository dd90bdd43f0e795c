// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// nft runs in the network namespace of the test's thread.
func nft(t *testing.T, command string) {
	t.Helper()
	output, err := exec.Command("nft", command).CombinedOutput()
	require.NoErrorf(t, err, "nft %s: %s", command, output)
}

// dropSegments makes netfilter drop matching inbound segments.
func dropSegments(t *testing.T, match string) {
	t.Helper()
	nft(t, "add table inet test; add chain inet test input { type filter hook input priority 0; }; "+
		"add rule inet test input "+match+" drop")
}

// count is a counter of a port; 0 if there is none.
func (k *kernel) count(port uint16, what connection.PortCount, detail string) (value uint64) {
	k.t.Helper()
	s, _ := k.snapshot(port)
	for _, counter := range s.Ports {
		if counter.NetNS == k.netns && counter.Port == port && counter.What == what && counter.Detail == detail {
			value += counter.Value
		}
	}
	return value
}

// counted waits until a counter of a port has a value, and returns it.
func (k *kernel) counted(port uint16, what connection.PortCount, detail string) uint64 {
	k.t.Helper()
	var value uint64
	k.until(fmt.Sprintf("count %d %q", what, detail), func() bool {
		s, _ := k.snapshot(port)
		for _, counter := range s.Ports {
			if counter.NetNS == k.netns && counter.Port == port && counter.What == what && counter.Detail == detail {
				value = counter.Value
			}
		}
		return value > 0
	})
	return value
}

func TestSockCountsLossInTheHandshake(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	port := portOf(l.Addr())
	k := startProbe(t, testConfig(onlyPort(port)), "synack_retransmit")
	// The client's last segment of the handshake never arrives.
	dropSegments(t, fmt.Sprintf("tcp dport %d tcp flags & (syn|ack) == ack", port))
	client, err := net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	assert.Positive(t, k.counted(port, connection.SYNACKRetransmits, ""))
	assert.Empty(t, k.closed)
}

func TestSockCountsRetransmits(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	port := portOf(l.Addr())
	k := startProbe(t, testConfig(onlyPort(port)), "retransmit")
	client, server := connect(t, l, "127.0.0.1")
	dropSegments(t, fmt.Sprintf("tcp sport %d", port))
	// More than a segment, even on loopback.
	lost := make([]byte, 300_000)
	_, err := server.Write(lost)
	require.NoError(t, err)
	k.counted(port, connection.Retransmits, "")
	nft(t, "flush ruleset")
	_, err = io.ReadFull(client, lost)
	require.NoError(t, err)
	finish(t, client, server)
	k.until("close", func() bool { return len(k.closed) == 1 })
	assert.EqualValues(t, k.closed[0].Retransmits, k.counted(port, connection.Retransmits, ""))
	assert.Greater(t, k.closed[0].Retransmits, uint32(1))
	assert.EqualValues(t, len(lost), k.closed[0].TransmittedBytes)
}

func TestSockCountsResets(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	port := portOf(l.Addr())
	k := startProbe(t, testConfig(onlyPort(port)), "reset_received")
	client, server := connect(t, l, "127.0.0.1")
	require.NoError(t, client.SetLinger(0))
	require.NoError(t, client.Close())
	assert.EqualValues(t, 1, k.counted(port, connection.ResetsReceived, ""))
	require.NoError(t, server.Close())

	for _, linger := range []int{0, -1} {
		client, server = connect(t, l, "127.0.0.1")
		if linger < 0 { // unread data
			_, err := client.Write([]byte("to nobody"))
			require.NoError(t, err)
		}
		require.NoError(t, server.SetLinger(linger))
		require.NoError(t, server.Close())
	}
	k.until("closes", func() bool { return len(k.closed) == 3 })
	assert.EqualValues(t, 2, k.counted(port, connection.ResetsSent, ""))
	assert.EqualValues(t, 1, k.counted(port, connection.ResetsReceived, ""))
}

// An ordinary segment must not count as a drop, or users would chase ghosts.
func TestSockCountsNoDropsInGoodOrder(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	port := portOf(l.Addr())
	k := startProbe(t, testConfig(onlyPort(port), func(c *Config) { c.Drops = true }))
	const connections = 50
	for i := range connections {
		client, server := connect(t, l, "127.0.0.1")
		send(t, client, server, 100)
		send(t, server, client, 100_000)
		if i%2 == 0 {
			finish(t, client, server)
		} else {
			finish(t, server, client)
		}
	}
	k.until("closes", func() bool { return len(k.closed) == connections })
	s, _ := k.snapshot(port)
	for _, counter := range s.Ports {
		if counter.NetNS == k.netns {
			assert.NotEqualf(t, connection.Drops, counter.What, "%+v", counter)
		}
	}
	// The same host still counts real drops.
	nft(t, "add table inet test; add chain inet test input { type filter hook input priority 0; }; "+
		fmt.Sprintf("add rule inet test input tcp dport %d tcp flags & (syn|ack) == syn drop", port))
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.ErrorIs(t, unix.Connect(fd, &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}), unix.EINPROGRESS)
	assert.Positive(t, k.counted(port, connection.Drops, "netfilter_drop"))
}

// The server closes first, and the client later. The client's last segment meets a TIME_WAIT
// socket, which handles it on a path of its own.
func TestSockCountsNoDropsInTimeWait(t *testing.T) {
	for family, address := range map[string]string{"IPv4": "192.0.2.1:0", "IPv6": "[" + wire.Server6.String() + "]:0"} {
		for end, linger := range map[string]int{"FIN": -1, "reset": 0} {
			t.Run(family+" "+end, func(t *testing.T) {
				enterNetNS(t)
				other := wire.NewPeer(t)
				veth6(t, other)
				other.In(func() {
					device, err := netlink.LinkByName("peer-server")
					require.NoError(t, err)
					addAddress6(t, device, "2001:db8::7/64")
				})
				l := listen(t, "tcp", address)
				port := portOf(l.Addr())
				k := startProbe(t, testConfig(onlyPort(port), func(c *Config) { c.Drops = true }))
				const connections = 5
				for range connections {
					var client net.Conn
					other.In(func() {
						var err error
						client, err = net.Dial("tcp", l.Addr().String())
						require.NoError(t, err)
					})
					server, err := l.AcceptTCP()
					require.NoError(t, err)
					send(t, client, server, 3)
					require.NoError(t, server.Close())
					_, err = io.ReadAll(client)
					require.NoError(t, err)
					// Its acknowledgment has moved the server's socket to TIME_WAIT.
					k.until("close", func() bool { return len(k.closed) > 0 })
					k.closed = k.closed[1:]
					require.NoError(t, client.(*net.TCPConn).SetLinger(linger))
					require.NoError(t, client.Close())
				}
				s, _ := k.snapshot(port)
				for _, counter := range s.Ports {
					if counter.NetNS == k.netns {
						assert.NotEqualf(t, connection.Drops, counter.What, "%+v", counter)
					}
				}
			})
		}
	}
}

// Containers come and go. The counts of their namespaces are reported once more and free
// their room.
func TestSockEndsTheCountersOfNamespacesWithoutListeners(t *testing.T) {
	enterNetNS(t)
	other := wire.NewPeer(t)
	k := startProbe(t, testConfig(onlyPort(9)), refusedByReset)
	var inode uint32
	other.In(func() {
		setLoopback(t, true)
		var err error
		inode, err = netns.Current()
		assert.NoError(t, err)
		for range 3 {
			_, err = net.Dial("tcp4", "127.0.0.1:9")
			assert.ErrorIs(t, err, unix.ECONNREFUSED)
		}
	})
	last := connection.PortCounter{
		NetNS: inode, IPv4: true, What: connection.Failures, Detail: "refused", Value: 3, Final: true,
	}
	s, _ := k.snapshot(9)
	assert.Contains(t, s.Ports, last)
	s, _ = k.snapshot(9)
	for _, counter := range s.Ports {
		assert.NotEqual(t, inode, counter.NetNS)
	}
}
