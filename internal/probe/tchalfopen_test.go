// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

const (
	clientISN   = 0x01020304
	serverISN   = 0x05060707
	offerWindow = 1000
)

// numbers are a segment's sequence number and, where it has one, its acknowledgment's.
func numbers(sequence, acknowledgment uint32) func(*layers.TCP) {
	return func(tcp *layers.TCP) { tcp.Seq, tcp.Ack = sequence, acknowledgment }
}

// answerSYN is the server's SYN-ACK, on its way out.
func answerSYN(t *testing.T) []byte {
	t.Helper()
	return egressOf(ordinary(t, func(tcp *layers.TCP) {
		tcp.SYN, tcp.Seq, tcp.Ack, tcp.Window = true, serverISN, clientISN+1, offerWindow
	}))
}

func halfOpenKey() *shared.HalfOpenKey {
	key := shared.HalfOpenKey{Netns: tcTestNetNS}
	key.Flow.Local, key.Flow.Remote = tcServer4.As16(), tcClient4.As16()
	key.Flow.LocalPort, key.Flow.RemotePort = tcServerPort, tcClientPort
	return &key
}

func TestTCHalfOpen(t *testing.T) {
	b := newTCBench(t, tcConfig(trackHalfOpen))
	syn := build(t, ethernet(layers.EthernetTypeIPv4), ipv4(), tcpSegment(onlySYN))
	handshakes := b.maps["half_open_handshakes"]
	var first, again shared.HalfOpen

	b.run("tc_ingress_eth", ordinary(t, onlySYN, toPort(9)))
	require.ErrorIs(t, handshakes.Lookup(halfOpenKey(), &first), ebpf.ErrKeyNotExist, "nobody listens there")
	b.run("tc_ingress_eth", syn)
	require.NoError(t, handshakes.Lookup(halfOpenKey(), &first))
	assert.EqualValues(t, loopbackIndex, first.Ifindex)
	b.run("tc_ingress_eth", syn)
	require.NoError(t, handshakes.Lookup(halfOpenKey(), &again))
	assert.Equal(t, first, again, "a retransmit does not begin anew")
	assert.Nil(t, b.failed())

	b.run("tc_ingress_eth", ordinary(t, reset, numbers(clientISN+1, 0)))
	require.ErrorIs(t, handshakes.Lookup(halfOpenKey(), &again), ebpf.ErrKeyNotExist)
	failed := b.failed()
	require.NotNil(t, failed)
	assert.EqualValues(t, shared.FailureReset, failed.Failure)
	assert.Equal(t, flow4(), failed.Flow)
	assert.EqualValues(t, loopbackIndex, failed.Ifindex)
	assert.EqualValues(t, 1, b.ledger().Produced[shared.EventFailed])
	assert.EqualValues(t, 1, b.portCount(tcServerPort, 4, connection.FailureReset))

	b.run("tc_ingress_eth", ordinary(t, reset, numbers(clientISN+1, 0)))
	assert.Nil(t, b.failed(), "a reset of what is not half-open")
}

// halfOpenEnd is a segment of the client's, and whether the kernel takes it.
type halfOpenEnd struct {
	segment func(*layers.TCP)
	ends    bool
	// unanswered: no SYN-ACK was seen.
	unanswered bool
	// beyond the window of the SYN-ACK, for which a mark has no room.
	beyond bool
}

func halfOpenEnds() map[string]halfOpenEnd {
	const next, serverNext = clientISN + 1, serverISN + 1
	ack := numbers
	rst := func(sequence uint32) func(*layers.TCP) {
		return func(tcp *layers.TCP) { tcp.RST, tcp.ACK, tcp.Seq, tcp.Ack = true, false, sequence, 0 }
	}
	rstACK := func(sequence, acknowledgment uint32) func(*layers.TCP) {
		return func(tcp *layers.TCP) { tcp.RST, tcp.Seq, tcp.Ack = true, sequence, acknowledgment }
	}
	return map[string]halfOpenEnd{
		"ACK":                             {segment: ack(next, serverNext), ends: true},
		"ACK, in the window":              {segment: ack(next+offerWindow, serverNext), ends: true},
		"ACK, before the window":          {segment: ack(next-1, serverNext)},
		"ACK, beyond the window":          {segment: ack(next+offerWindow+1, serverNext), beyond: true},
		"ACK of too much":                 {segment: ack(next, serverNext+1)},
		"ACK of too little":               {segment: ack(next, serverNext-1)},
		"ACK, no SYN-ACK was seen":        {segment: ack(next, 1), unanswered: true, ends: true},
		"RST":                             {segment: rst(next), ends: true},
		"RST, in the window":              {segment: rst(next + 1)},
		"RST, before the window":          {segment: rst(next - 1)},
		"RST, beyond the window":          {segment: rst(next + offerWindow + 1)},
		"RST and ACK":                     {segment: rstACK(next, serverNext), ends: true},
		"RST and ACK of too much":         {segment: rstACK(next, serverNext+1), ends: true},
		"RST, no SYN-ACK was seen":        {segment: rst(next), unanswered: true, ends: true},
		"RST, wrong, no SYN-ACK was seen": {segment: rst(next - 1), unanswered: true},
	}
}

// run begins a handshake and sends what may end it.
func (e *halfOpenEnd) run(t *testing.T, b *tcBench) {
	t.Helper()
	b.run("tc_ingress_eth", bare(t, onlySYN))
	if !e.unanswered {
		b.run("tc_egress_eth", answerSYN(t))
	}
	b.run("tc_ingress_eth", bare(t, e.segment))
}

// bare is an inbound segment without payload.
func bare(t *testing.T, change ...func(*layers.TCP)) []byte {
	t.Helper()
	return build(t, ethernet(layers.EthernetTypeIPv4), ipv4(), tcpSegment(change...))
}

// tellsReset: a reset that ended the attempt is reported, nothing else is.
func (e *halfOpenEnd) tellsReset(t *testing.T, b *tcBench, ends bool) {
	t.Helper()
	var tcp layers.TCP
	e.segment(&tcp)
	failed := b.failed()
	require.Equal(t, ends && tcp.RST, failed != nil)
	if failed != nil {
		assert.EqualValues(t, shared.FailureReset, failed.Failure)
		assert.Equal(t, flow4(), failed.Flow)
	}
}

// Only what ends a handshake in the kernel ends it here.
func TestTCHalfOpenEnds(t *testing.T) {
	for name, end := range halfOpenEnds() {
		t.Run(name, func(t *testing.T) {
			b := newTCBench(t, tcConfig(trackHalfOpen))
			end.run(t, b)
			err := b.maps["half_open_handshakes"].Lookup(halfOpenKey(), new(shared.HalfOpen))
			assert.Equal(t, end.ends, err != nil)
			end.tellsReset(t, b, end.ends)
		})
		t.Run(name+", marked", func(t *testing.T) {
			const room = 16
			b := newTCBench(t, tcConfig(trackHalfOpen, func(c *Config) { c.MaxHalfOpen = room }))
			for n := range room {
				b.run("tc_ingress_eth", bare(t, onlySYN, func(tcp *layers.TCP) { tcp.SrcPort = layers.TCPPort(1 + n) }))
			}
			end.run(t, b)
			ends := end.ends || end.beyond
			assert.EqualValues(t, 1, b.ledger().Marked[shared.CauseMapFull])
			assert.Equal(t, ends, b.ledger().MarksEnded[shared.CauseMapFull] == 1)
			end.tellsReset(t, b, ends)
		})
	}
}

// What finds no room is lost if it does not end within the timeout, and only then.
func TestTCHalfOpenMapFull(t *testing.T) {
	const size, ended, over = 64, 20, 100
	b := newTCBench(t, tcConfig(trackHalfOpen, func(c *Config) { c.MaxHalfOpen = size }))
	segment := func(n int, change ...func(*layers.TCP)) []byte {
		return ordinary(t, append(change, func(tcp *layers.TCP) { tcp.SrcPort = layers.TCPPort(1000 + n) })...)
	}
	h := &recorder{netns: tcTestNetNS}
	sweep := func() { b.sweepHalfOpen(h, func(uint32, uint32) string { return "lo" }) }
	for n := range size + over {
		b.run("tc_ingress_eth", segment(n, onlySYN))
		b.run("tc_ingress_eth", segment(n, onlySYN)) // sent again
		if n >= size && n < size+ended {
			b.run("tc_egress_eth", egressOf(segment(n, func(tcp *layers.TCP) { tcp.SYN, tcp.Seq, tcp.Ack = true, serverISN, clientISN+1 })))
			b.run("tc_ingress_eth", build(t, ethernet(layers.EthernetTypeIPv4), ipv4(),
				tcpSegment(numbers(clientISN+1, serverISN+1), func(tcp *layers.TCP) { tcp.SrcPort = layers.TCPPort(1000 + n) })))
		}
	}
	assert.EqualValues(t, over, b.ledger().Marked[shared.CauseMapFull])
	assert.EqualValues(t, ended, b.ledger().MarksEnded[shared.CauseMapFull])
	sweep()
	early, _ := b.lostHalfOpen()
	assert.Less(t, early, int64(over-ended), "what is young may end in time yet")

	within(t, soon, func() bool {
		sweep()
		lost, _ := b.lostHalfOpen()
		return lost == over-ended
	}, "what did not end is lost")
	sweep()
	lost, share := b.lostHalfOpen()
	assert.EqualValues(t, over-ended, lost)
	assert.Zero(t, share)
	assert.Len(t, h.failed, size)
	assert.EqualValues(t, size+over-ended, b.sweptHalfOpen())
	assert.Nil(t, b.failed())
}

// The records of one sweep are shared as those of a second are.
func TestTCSweepSharesRecords(t *testing.T) {
	const perSecond, flooding, attempts, late = 40, tcTestNetNS + 1, 2000, 10
	b := newTCBench(t, tcConfig(trackHalfOpen, func(c *Config) {
		c.FailedPerSecond, c.MaxHalfOpen = perSecond, 2*attempts
	}))
	var now unix.Timespec
	require.NoError(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &now))
	old := shared.HalfOpen{First: uint64(now.Nano() - time.Minute.Nanoseconds())}
	for netns, n := range map[uint32]int{flooding: attempts, tcTestNetNS: late} {
		for port := range n {
			key := shared.HalfOpenKey{Netns: netns}
			key.Flow.Local, key.Flow.Remote = tcServer4.As16(), tcClient4.As16()
			key.Flow.LocalPort, key.Flow.RemotePort = tcServerPort, uint16(1000+port)
			require.NoError(t, b.maps["half_open_handshakes"].Put(&key, &old))
		}
	}
	h := &recorder{netns: tcTestNetNS}
	b.sweepHalfOpen(h, func(uint32, uint32) string { return "lo" })
	assert.Len(t, h.failed, late, "records of the collector's own namespace")
	assert.Contains(t, h.lost, "failed: kernel namespace_share (1)")
	assert.EqualValues(t, attempts+late, b.sweptHalfOpen())
}

func entriesOf(t *testing.T, m *ebpf.Map) int {
	t.Helper()
	entries, err := shared.CountEntries(m)
	require.NoError(t, err)
	return entries
}

// An attempt at what is not this host is none.
func TestTCHalfOpenOfOthers(t *testing.T) {
	b := newTCBench(t, tcConfig(trackHalfOpen))
	known := singles(tcServer4)
	left, err := b.addresses.set(known)
	require.NoError(t, err)
	require.Zero(t, left)
	elsewhere := build(t, ethernet(layers.EthernetTypeIPv4), ipv4(func(ip *layers.IPv4) { ip.DstIP = net.IPv4(192, 0, 2, 99) }), tcpSegment(onlySYN))
	hardware := ethernet(layers.EthernetTypeIPv4)
	hardware.DstMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	count := func(frame []byte) int {
		b.run("tc_ingress_eth", frame)
		n := entriesOf(t, b.maps["half_open_handshakes"])
		clearMap(t, b.maps["half_open_handshakes"])
		return n
	}
	ours := build(t, ethernet(layers.EthernetTypeIPv4), ipv4(), tcpSegment(onlySYN))
	assert.Equal(t, 1, count(ours))
	assert.Zero(t, count(build(t, hardware, ipv4(), tcpSegment(onlySYN))), "another host's hardware address")
	assert.Equal(t, 1, count(elsewhere), "not all addresses are known")
	require.NoError(t, b.setAddressesKnown(true))
	assert.Zero(t, count(elsewhere))
	assert.Equal(t, 1, count(ours))
}

// rawClient begins handshakes with a server that is here, from an address that no kernel
// has: nobody but the test answers.
type rawClient struct {
	t        *testing.T
	peer     *peer
	hardware net.HardwareAddr // the server's
	fd       int              // reads at the peer's end
}

func newRawClient(t *testing.T) *rawClient {
	t.Helper()
	c := &rawClient{t: t, peer: newPeer(t)}
	c.peer.veth(t, "server")
	device, err := netlink.LinkByName("server")
	require.NoError(t, err)
	c.hardware = device.Attrs().HardwareAddr
	to := netlink.NewIPNet(tcClient4.AsSlice())
	require.NoError(t, netlink.RouteAdd(&netlink.Route{LinkIndex: device.Attrs().Index, Dst: to}))
	c.peer.eventuallyUp(t, "peer-server")
	var other netlink.Link
	c.peer.in(func() {
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
	link := ethernet(layers.EthernetTypeIPv4)
	link.DstMAC = c.hardware
	sendFrames(c.t, c.peer, "peer-server", nil, build(c.t, link, ipv4(), tcpSegment(change...)))
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
		mode(TCAuto), included("server"), trackHalfOpen, onlyPort(tcServerPort),
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
			listen(t, "tcp4", netip.AddrPortFrom(tcServer4, tcServerPort).String())
			k := halfOpenProbe(t)
			for n := range layers.TCPPort(attempts) {
				port := func(tcp *layers.TCP) { tcp.SrcPort = 2000 + n }
				client.send(onlySYN, port)
				answer := client.answer(2000 + n)
				require.True(t, answer.SYN)
				if test.end != nil {
					client.send(port, numbers(answer.Ack, answer.Seq+1), func(tcp *layers.TCP) { test.end(answer, tcp) })
				}
			}
			within(t, soon, func() bool { return handshakesHeld(t) == test.held }, "the kernel holds %d", test.held)
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
	l := listen(t, "tcp4", netip.AddrPortFrom(tcServer4, tcServerPort).String())
	k := halfOpenProbe(t, func(c *Config) { c.MaxHalfOpen = size })
	for n := range layers.TCPPort(size + over) {
		client.send(onlySYN, func(tcp *layers.TCP) { tcp.SrcPort = 2000 + n })
		require.True(t, client.answer(2000+n).SYN)
	}
	for range served {
		client.peer.in(func() {
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
	client.send(onlySYN, func(tcp *layers.TCP) { tcp.SrcPort = 3000 })
	k.until("one more", func() bool { k.snapshot(0); return len(k.failed) == size+1 })
}

// Frames for another host, which the kernel throws away.
func TestTCHalfOpenSeesNoAttemptOfOthers(t *testing.T) {
	enterNetNS(t)
	client := newRawClient(t)
	listen(t, "tcp4", netip.AddrPortFrom(netip.IPv4Unspecified(), tcServerPort).String())
	k := halfOpenProbe(t, func(c *Config) { c.HandshakeTimeout = 100 * time.Millisecond })
	var frames [][]byte
	for n := range 29 {
		link := ethernet(layers.EthernetTypeIPv4)
		link.DstMAC = client.hardware
		ip := ipv4(func(ip *layers.IPv4) { ip.DstIP = net.IPv4(192, 0, 2, byte(100+n)) })
		if n == 0 {
			link.DstMAC, ip = net.HardwareAddr{2, 0, 0, 0, 0, 1}, ipv4()
		}
		frames = append(frames, build(t, link, ip, tcpSegment(onlySYN)))
	}
	sendFrames(t, client.peer, "peer-server", nil, frames...)
	client.send(onlySYN, func(tcp *layers.TCP) { tcp.SrcPort = 2000 }) // and one for us, the last
	require.True(t, client.answer(2000).SYN)
	k.until("the timeout of ours", func() bool { k.snapshot(0); return len(k.failed) > 0 })
	k.settle()
	require.Len(t, k.failed, 1)
	assert.EqualValues(t, 2000, k.failed[0].Client.Port())
}
