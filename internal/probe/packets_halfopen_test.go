// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// numbers are a segment's sequence number and, where it has one, its acknowledgment's.
func numbers(sequence, acknowledgment uint32) func(*layers.TCP) {
	return func(tcp *layers.TCP) { tcp.Seq, tcp.Ack = sequence, acknowledgment }
}

// rawClient begins handshakes with a server that is here, from an address that no kernel
// has: nobody but the test answers.
type rawClient struct {
	t        *testing.T
	peer     *wire.Peer
	hardware net.HardwareAddr // the server's
	fd       int              // reads at the peer's end
}

func newRawClient(t *testing.T) *rawClient {
	t.Helper()
	c := &rawClient{t: t, peer: wire.NewPeer(t)}
	c.peer.Veth(t, "server")
	device, err := netlink.LinkByName("server")
	require.NoError(t, err)
	c.hardware = device.Attrs().HardwareAddr
	to := netlink.NewIPNet(wire.Client4.AsSlice())
	require.NoError(t, netlink.RouteAdd(&netlink.Route{LinkIndex: device.Attrs().Index, Dst: to}))
	c.peer.EventuallyUp(t, "peer-server")
	var other netlink.Link
	c.peer.In(func() {
		other, err = netlink.LinkByName("peer-server")
		require.NoError(t, err)
		c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_IP)))
		require.NoError(t, err)
	})
	t.Cleanup(func() { _ = unix.Close(c.fd) })
	require.NoError(t, unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
	require.NoError(t, netlink.NeighAdd(&netlink.Neigh{
		LinkIndex: device.Attrs().Index, IP: to.IP, HardwareAddr: other.Attrs().HardwareAddr, State: netlink.NUD_PERMANENT,
	}))
	return c
}

func htons(n uint16) uint16 { return n<<8 | n>>8 }

// send sends a segment to the server.
func (c *rawClient) send(change ...func(*layers.TCP)) {
	c.t.Helper()
	link := wire.Ethernet(layers.EthernetTypeIPv4)
	link.DstMAC = c.hardware
	c.peer.Send(c.t, "peer-server", wire.Build(c.t, link, wire.IPv4(), wire.Segment(change...)))
}

// answer waits for the server's next segment to a port of the client.
func (c *rawClient) answer(port layers.TCPPort) *layers.TCP {
	c.t.Helper()
	frame := make([]byte, 2048)
	for {
		n, from, err := unix.Recvfrom(c.fd, frame, 0)
		require.NoError(c.t, err, "no answer to port %d", port)
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		decoded := gopacket.NewPacket(frame[:n], layers.LayerTypeEthernet, gopacket.Default)
		if tcp, ok := decoded.Layer(layers.LayerTypeTCP).(*layers.TCP); ok && tcp.DstPort == port {
			return tcp
		}
	}
}

// handshakesHeld is the number of request sockets that the kernel holds.
func handshakesHeld(t *testing.T) (n int) {
	t.Helper()
	sockets, err := netlink.SocketDiagTCP(unix.AF_INET)
	require.NoError(t, err)
	for _, s := range sockets {
		if s.State == netlink.TCP_SYN_RECV {
			n++
		}
	}
	return n
}

// halfOpenProbe is the whole probe, on the server's end of a pair.
func halfOpenProbe(t *testing.T, change ...func(*Config)) *kernel {
	t.Helper()
	return startProbe(t, testConfig(append([]func(*Config){
		mode(TCAuto), included("server"), trackHalfOpen, onlyPort(wire.ServerPort),
	}, change...)...))
}

// What the kernel holds after a segment, and what we report, agree.
func TestTCHalfOpenAgreesWithTheKernel(t *testing.T) {
	const attempts = 10
	for name, test := range map[string]struct {
		end     func(answer, tcp *layers.TCP)
		held    int
		failure connection.Failure // 0 = established
	}{
		"ACK": {end: func(*layers.TCP, *layers.TCP) {}},
		"ACK of another number": {
			func(_, tcp *layers.TCP) { tcp.Ack += 1000 },
			attempts, connection.FailureHandshakeTimeout,
		},
		"ACK before the window": {
			func(_, tcp *layers.TCP) { tcp.Seq -= 5 },
			attempts, connection.FailureHandshakeTimeout,
		},
		"RST": {
			func(_, tcp *layers.TCP) { tcp.RST, tcp.ACK = true, false },
			0, connection.FailureReset,
		},
		"RST and ACK": {
			func(_, tcp *layers.TCP) { tcp.RST = true },
			0, connection.FailureReset,
		},
		"RST beyond the window": {
			func(answer, tcp *layers.TCP) {
				tcp.RST, tcp.ACK, tcp.Seq = true, false, tcp.Seq+uint32(answer.Window)+1
			},
			attempts, connection.FailureHandshakeTimeout,
		},
		"RST before the window": {
			func(_, tcp *layers.TCP) { tcp.RST, tcp.ACK, tcp.Seq = true, false, tcp.Seq-1 },
			attempts, connection.FailureHandshakeTimeout,
		},
		"another SYN in the window": {
			func(_, tcp *layers.TCP) { tcp.SYN, tcp.ACK, tcp.Seq = true, false, tcp.Seq+10 },
			0, connection.FailureRefused,
		},
		"nothing": {nil, attempts, connection.FailureHandshakeTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			enterNetNS(t)
			client := newRawClient(t)
			listen(t, "tcp4", netip.AddrPortFrom(wire.Server4, wire.ServerPort).String())
			k := halfOpenProbe(t)
			for n := range layers.TCPPort(attempts) {
				port := func(tcp *layers.TCP) { tcp.SrcPort = 2000 + n }
				client.send(wire.OnlySYN, port)
				answer := client.answer(2000 + n)
				require.True(t, answer.SYN)
				if test.end != nil {
					client.send(port, numbers(answer.Ack, answer.Seq+1), func(tcp *layers.TCP) { test.end(answer, tcp) })
				}
			}
			wire.Within(t, wire.Soon, func() bool { return handshakesHeld(t) == test.held }, "the kernel holds %d", test.held)
			if test.failure == 0 {
				k.until("opens", func() bool { return len(k.opened) == attempts })
			} else {
				k.until("failures", func() bool { k.snapshot(0); return len(k.failed) >= attempts })
			}
			s, _ := k.snapshot(0)
			for _, failed := range k.failed {
				assert.Equal(t, test.failure.String(), failed.Type.String())
			}
			assert.Len(t, k.failed, map[bool]int{true: 0, false: attempts}[test.failure == 0])
			assert.EqualValues(t, len(k.failed), s.Ledger.Produced[ledger.Failed])
		})
	}
}

// The map is full: what is established is not lost.
func TestTCHalfOpenMapFullOfARealServer(t *testing.T) {
	const size, over, served = 8, 5, 20
	enterNetNS(t)
	client := newRawClient(t)
	l := listen(t, "tcp4", netip.AddrPortFrom(wire.Server4, wire.ServerPort).String())
	k := halfOpenProbe(t, func(c *Config) { c.MaxHalfOpen = size })
	for n := range layers.TCPPort(size + over) {
		client.send(wire.OnlySYN, func(tcp *layers.TCP) { tcp.SrcPort = 2000 + n })
		require.True(t, client.answer(2000+n).SYN)
	}
	for range served {
		client.peer.In(func() {
			served, err := net.Dial("tcp4", l.Addr().String())
			require.NoError(t, err)
			require.NoError(t, served.Close())
		})
		server, err := l.Accept()
		require.NoError(t, err)
		require.NoError(t, server.Close())
	}
	var s *Snapshot
	k.until("timeouts", func() bool {
		s, _ = k.snapshot(0)
		return len(k.failed) == size && s.Ledger.Lost[ledger.Failed][ledger.MapFull] >= over
	})
	assert.Len(t, k.opened, served)
	assert.EqualValues(t, over, s.Ledger.Lost[ledger.Failed][ledger.MapFull])
	assert.EqualValues(t, size+over, s.Ledger.Produced[ledger.Failed])
	// What comes after them is tracked again.
	client.send(wire.OnlySYN, func(tcp *layers.TCP) { tcp.SrcPort = 3000 })
	k.until("one more", func() bool { k.snapshot(0); return len(k.failed) == size+1 })
}

// Frames for another host, which the kernel throws away.
func TestTCHalfOpenSeesNoAttemptOfOthers(t *testing.T) {
	enterNetNS(t)
	client := newRawClient(t)
	listen(t, "tcp4", netip.AddrPortFrom(netip.IPv4Unspecified(), wire.ServerPort).String())
	k := halfOpenProbe(t, func(c *Config) { c.HandshakeTimeout = 100 * time.Millisecond })
	var frames [][]byte
	for n := range 29 {
		link := wire.Ethernet(layers.EthernetTypeIPv4)
		link.DstMAC = client.hardware
		ip := wire.IPv4(func(ip *layers.IPv4) { ip.DstIP = net.IPv4(192, 0, 2, byte(100+n)) })
		if n == 0 {
			link.DstMAC, ip = net.HardwareAddr{2, 0, 0, 0, 0, 1}, wire.IPv4()
		}
		frames = append(frames, wire.Build(t, link, ip, wire.Segment(wire.OnlySYN)))
	}
	client.peer.Send(t, "peer-server", frames...)
	client.send(wire.OnlySYN, func(tcp *layers.TCP) { tcp.SrcPort = 2000 }) // and one for us, the last
	require.True(t, client.answer(2000).SYN)
	k.until("the timeout of ours", func() bool { k.snapshot(0); return len(k.failed) > 0 })
	k.settle()
	require.Len(t, k.failed, 1)
	assert.EqualValues(t, 2000, k.failed[0].Client.Port())
}
