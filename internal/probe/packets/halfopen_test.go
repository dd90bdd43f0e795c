// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package packets

import (
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
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
	return egressOf(wire.Ordinary(t, func(tcp *layers.TCP) {
		tcp.SYN, tcp.Seq, tcp.Ack, tcp.Window = true, serverISN, clientISN+1, offerWindow
	}))
}

func halfOpenKey() *shared.HalfOpenKey {
	key := shared.HalfOpenKey{Netns: testNetNS}
	key.Flow.Local, key.Flow.Remote = wire.Server4.As16(), wire.Client4.As16()
	key.Flow.LocalPort, key.Flow.RemotePort = wire.ServerPort, wire.ClientPort
	return &key
}

func TestTCHalfOpen(t *testing.T) {
	b := newBench(t, config(trackHalfOpen))
	syn := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(), wire.Segment(wire.OnlySYN))
	handshakes := b.maps["half_open_handshakes"]
	var first, again shared.HalfOpen

	b.run("tc_ingress_eth", wire.Ordinary(t, wire.OnlySYN, toPort(9)))
	require.ErrorIs(t, handshakes.Lookup(halfOpenKey(), &first), ebpf.ErrKeyNotExist, "nobody listens there")
	b.run("tc_ingress_eth", syn)
	require.NoError(t, handshakes.Lookup(halfOpenKey(), &first))
	assert.EqualValues(t, loopbackIndex, first.Ifindex)
	b.run("tc_ingress_eth", syn)
	require.NoError(t, handshakes.Lookup(halfOpenKey(), &again))
	assert.Equal(t, first, again, "a retransmit keeps the first time")
	assert.Nil(t, b.failed())

	b.run("tc_ingress_eth", wire.Ordinary(t, reset, numbers(clientISN+1, 0)))
	require.ErrorIs(t, handshakes.Lookup(halfOpenKey(), &again), ebpf.ErrKeyNotExist)
	failed := b.failed()
	require.NotNil(t, failed)
	assert.EqualValues(t, shared.FailureReset, failed.Failure)
	assert.Equal(t, flow4(), failed.Flow)
	assert.EqualValues(t, loopbackIndex, failed.Ifindex)
	assert.EqualValues(t, 1, b.ledger().Produced[shared.EventFailed])
	assert.EqualValues(t, 1, b.portCount(wire.ServerPort, 4, connection.FailureReset))

	b.run("tc_ingress_eth", wire.Ordinary(t, reset, numbers(clientISN+1, 0)))
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
func (e *halfOpenEnd) run(t *testing.T, b *bench) {
	t.Helper()
	b.run("tc_ingress_eth", bare(t, wire.OnlySYN))
	if !e.unanswered {
		b.run("tc_egress_eth", answerSYN(t))
	}
	b.run("tc_ingress_eth", bare(t, e.segment))
}

// bare is an inbound segment without payload.
func bare(t *testing.T, change ...func(*layers.TCP)) []byte {
	t.Helper()
	return wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(), wire.Segment(change...))
}

// tellsReset: a reset that ended the attempt is reported, nothing else is.
func (e *halfOpenEnd) tellsReset(t *testing.T, b *bench, ends bool) {
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
			b := newBench(t, config(trackHalfOpen))
			end.run(t, b)
			err := b.maps["half_open_handshakes"].Lookup(halfOpenKey(), new(shared.HalfOpen))
			assert.Equal(t, end.ends, err != nil)
			end.tellsReset(t, b, end.ends)
		})
		t.Run(name+", marked", func(t *testing.T) {
			const room = 16
			b := newBench(t, config(trackHalfOpen, func(c *settings.Config) { c.MaxHalfOpen = room }))
			for n := range room {
				b.run("tc_ingress_eth", bare(t, wire.OnlySYN, func(tcp *layers.TCP) { tcp.SrcPort = layers.TCPPort(1 + n) }))
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
	b := newBench(t, config(trackHalfOpen, func(c *settings.Config) { c.MaxHalfOpen = size }))
	segment := func(n int, change ...func(*layers.TCP)) []byte {
		return wire.Ordinary(t, append(change, func(tcp *layers.TCP) { tcp.SrcPort = layers.TCPPort(1000 + n) })...)
	}
	h := new(failures)
	sweep := func() { b.sweepHalfOpen(h, func(uint32, uint32) string { return "lo" }) }
	for n := range size + over {
		b.run("tc_ingress_eth", segment(n, wire.OnlySYN))
		b.run("tc_ingress_eth", segment(n, wire.OnlySYN)) // sent again
		if n >= size && n < size+ended {
			b.run("tc_egress_eth", egressOf(segment(n, func(tcp *layers.TCP) { tcp.SYN, tcp.Seq, tcp.Ack = true, serverISN, clientISN+1 })))
			b.run("tc_ingress_eth", wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(),
				wire.Segment(numbers(clientISN+1, serverISN+1), func(tcp *layers.TCP) { tcp.SrcPort = layers.TCPPort(1000 + n) })))
		}
	}
	assert.EqualValues(t, over, b.ledger().Marked[shared.CauseMapFull])
	assert.EqualValues(t, ended, b.ledger().MarksEnded[shared.CauseMapFull])
	sweep()
	early, _ := b.lostHalfOpen()
	assert.Less(t, early, int64(over-ended), "what is young may end in time yet")

	wire.Within(t, wire.Soon, func() bool {
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
	const perSecond, flooding, attempts, late = 40, testNetNS + 1, 2000, 10
	b := newBench(t, config(trackHalfOpen, func(c *settings.Config) {
		c.FailedPerSecond, c.MaxHalfOpen = perSecond, 2*attempts
	}))
	var now unix.Timespec
	require.NoError(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &now))
	old := shared.HalfOpen{First: uint64(now.Nano() - time.Minute.Nanoseconds())}
	for netns, n := range map[uint32]int{flooding: attempts, testNetNS: late} {
		for port := range n {
			key := shared.HalfOpenKey{Netns: netns}
			key.Flow.Local, key.Flow.Remote = wire.Server4.As16(), wire.Client4.As16()
			key.Flow.LocalPort, key.Flow.RemotePort = wire.ServerPort, uint16(1000+port)
			require.NoError(t, b.maps["half_open_handshakes"].Put(&key, &old))
		}
	}
	h := new(failures)
	b.sweepHalfOpen(h, func(uint32, uint32) string { return "lo" })
	assert.Len(t, h.failed, late, "records of the collector's own namespace")
	assert.Contains(t, h.lost, ledger.RateShare)
	assert.EqualValues(t, attempts+late, b.sweptHalfOpen())
}

func entriesOf(t *testing.T, m *ebpf.Map) int {
	t.Helper()
	n, err := shared.CountEntries(m)
	require.NoError(t, err)
	return n
}

// An attempt at what is not this host is none.
func TestTCHalfOpenOfOthers(t *testing.T) {
	b := newBench(t, config(trackHalfOpen))
	known := singles(wire.Server4)
	left, err := b.addresses.Set(known)
	require.NoError(t, err)
	require.Zero(t, left)
	elsewhere := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(func(ip *layers.IPv4) { ip.DstIP = net.IPv4(192, 0, 2, 99) }), wire.Segment(wire.OnlySYN))
	hardware := wire.Ethernet(layers.EthernetTypeIPv4)
	hardware.DstMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	count := func(frame []byte) int {
		b.run("tc_ingress_eth", frame)
		n := entriesOf(t, b.maps["half_open_handshakes"])
		clearMap(t, b.maps["half_open_handshakes"])
		return n
	}
	ours := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(), wire.Segment(wire.OnlySYN))
	assert.Equal(t, 1, count(ours))
	assert.Zero(t, count(wire.Build(t, hardware, wire.IPv4(), wire.Segment(wire.OnlySYN))), "another host's hardware address")
	assert.Equal(t, 1, count(elsewhere), "not all addresses are known")
	require.NoError(t, b.setAddressesKnown(true))
	assert.Zero(t, count(elsewhere))
	assert.Equal(t, 1, count(ours))
}
