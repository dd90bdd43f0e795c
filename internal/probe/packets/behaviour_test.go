// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package packets

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/local"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

func includeTestClients(c *settings.Config) {
	c.IncludeClients = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:ffff::/48")}
}

func toPort(port layers.TCPPort) func(*layers.TCP) {
	return func(tcp *layers.TCP) { tcp.DstPort = port }
}

func trackHalfOpen(c *settings.Config) { c.HalfOpen, c.PacketSampleRate = true, 0 }

func reset(tcp *layers.TCP) { tcp.RST, tcp.ACK = true, false }

func TestTCServerSideOnly(t *testing.T) {
	b := newBench(t, config())
	for name, run := range map[string]func(){
		"another port":       func() { b.run("tc_ingress_eth", wire.Ordinary(t, toPort(9))) },
		"the client's port":  func() { b.run("tc_ingress_eth", egressOf(wire.Ordinary(t))) },
		"inbound, at egress": func() { b.run("tc_egress_eth", wire.Ordinary(t)) },
	} {
		run()
		assert.Nil(t, b.packet(), name)
	}
	assert.Equal(t, shared.InterfaceCounters{}, b.totals(tc.Ingress))
	assert.Equal(t, shared.InterfaceCounters{}, b.totals(tc.Egress))

	b.run("tc_egress_eth", egressOf(wire.Ordinary(t)))
	require.NotNil(t, b.packet())
	assert.EqualValues(t, 1, b.totals(tc.Egress).Packets[packet.Data])

	b.listen(wire.ServerPort, false)
	b.run("tc_ingress_eth", wire.Ordinary(t))
	assert.Nil(t, b.packet(), "the listener is gone")
}

func TestTCForwardedCountsApart(t *testing.T) {
	b := newBench(t, config())
	set := func(addresses ...netip.Addr) {
		left, err := b.addresses.Set(singles(addresses...))
		require.NoError(t, err)
		require.Zero(t, left)
	}
	frame6 := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv6), wire.IPv6(layers.IPProtocolTCP), wire.Segment(), wire.Payload(1))
	b.run("tc_ingress_eth", wire.Ordinary(t))
	require.NotNil(t, b.packet(), "nobody forwards: the address is not checked")

	require.NoError(t, b.setLookFurther(true))
	b.run("tc_ingress_eth", wire.Ordinary(t))
	b.run("tc_ingress_eth", frame6)
	b.run("tc_egress_eth", egressOf(wire.Ordinary(t)), gsoContext(3, 40))
	assert.Nil(t, b.packet())
	assert.EqualValues(t, 2, b.totals(tc.Ingress).Forwarded)
	assert.EqualValues(t, 3, b.totals(tc.Egress).Forwarded)

	set(wire.Server4, wire.Server6)
	b.run("tc_ingress_eth", wire.Ordinary(t))
	require.NotNil(t, b.packet())
	b.run("tc_ingress_eth", frame6)
	require.NotNil(t, b.packet())
	b.run("tc_egress_eth", egressOf(wire.Ordinary(t)))
	require.NotNil(t, b.packet())

	set(wire.Client4)
	b.run("tc_ingress_eth", wire.Ordinary(t))
	assert.Nil(t, b.packet(), "the address was removed")
	loopback := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(func(ip *layers.IPv4) {
		ip.DstIP = netip.MustParseAddr("127.9.9.9").AsSlice()
	}), wire.Segment())
	b.run("tc_ingress_eth", loopback)
	assert.NotNil(t, b.packet(), "all of 127/8 is this host")
}

// singles are addresses as local prefixes.
func singles(addresses ...netip.Addr) map[netip.Prefix]bool {
	all := make(map[netip.Prefix]bool)
	for _, address := range addresses {
		address = mapped(address)
		all[netip.PrefixFrom(address, address.BitLen())] = true
	}
	return all
}

// mappedPrefix is a prefix as the programs know it.
func mappedPrefix(text string) netip.Prefix {
	prefix := netip.MustParsePrefix(text)
	bits := prefix.Bits()
	if prefix.Addr().Is4() {
		bits += local.MappedBits
	}
	return netip.PrefixFrom(mapped(prefix.Addr()), bits)
}

func TestTCLocalPrefixes(t *testing.T) {
	b := newBench(t, config(func(c *settings.Config) { c.PacketSampleRate = 0 }))
	require.NoError(t, b.setLookFurther(true))
	frame6 := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv6), wire.IPv6(layers.IPProtocolTCP), wire.Segment(), wire.Payload(1))
	tell := func(prefixes ...string) {
		t.Helper()
		all := singles(wire.Client4)
		for _, prefix := range prefixes {
			all[mappedPrefix(prefix)] = true
		}
		left, err := b.addresses.Set(all)
		require.NoError(t, err)
		require.Zero(t, left)
	}
	// The fast path, look_closely and egress.
	ours := func(frame []byte) bool {
		t.Helper()
		before := [...]shared.InterfaceCounters{b.totals(tc.Ingress), b.totals(tc.Egress)}
		b.run("tc_ingress_eth", frame)
		b.run("tc_egress_eth", egressOf(frame))
		forwarded := b.totals(tc.Ingress).Forwarded - before[0].Forwarded + b.totals(tc.Egress).Forwarded - before[1].Forwarded
		counted := b.totals(tc.Ingress).Packets[packet.Data] - before[0].Packets[packet.Data] +
			b.totals(tc.Egress).Packets[packet.Data] - before[1].Packets[packet.Data]
		require.EqualValues(t, 2, forwarded+counted)
		require.NotEqualValues(t, 1, counted, "both directions are the same")
		return counted == 2
	}
	odd := wire.Ordinary(t, func(tcp *layers.TCP) {
		tcp.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindNop}}
	})
	for _, test := range []struct {
		prefixes   []string
		ours, our6 bool
	}{
		{nil, false, false},
		{[]string{"192.0.2.0/24"}, true, false},
		{[]string{"192.0.2.0/31"}, true, false},
		{[]string{"192.0.2.2/31"}, false, false},
		{[]string{"192.0.2.1/32"}, true, false},
		{[]string{"2001:db8::/64"}, false, true},
		{[]string{"2001:db8::/127", "10.0.0.0/8"}, false, true},
		{[]string{"2001:db8::2/127"}, false, false},
		{[]string{"0.0.0.0/0"}, true, false},
		{[]string{"::/0"}, true, true},
		{[]string{"127.0.0.0/8"}, false, false},
		{nil, false, false},
	} {
		tell(test.prefixes...)
		assert.Equal(t, test.ours, ours(wire.Ordinary(t)), "%v", test.prefixes)
		assert.Equal(t, test.ours, ours(odd), "%v, with an option", test.prefixes)
		assert.Equal(t, test.our6, ours(frame6), "%v, IPv6", test.prefixes)
	}
	var some bool
	require.NoError(t, b.objects.Variables["any_local_prefixes"].Get(&some))
	assert.False(t, some, "no packet pays for what is not there")
	tell("127.0.0.0/8", "127.0.0.1/32", "::1/128")
	require.NoError(t, b.objects.Variables["any_local_prefixes"].Get(&some))
	assert.False(t, some, "nor for what every host has")
}

func TestTCAddressTableHoldsManyAndSaysWhenFull(t *testing.T) {
	b := newBench(t, config())
	var addresses []netip.Addr
	next := netip.MustParseAddr("10.0.0.0")
	add := func(number int) {
		for range number {
			next = next.Next()
			addresses = append(addresses, next)
		}
	}
	add(400)
	left, err := b.addresses.Set(singles(addresses...))
	require.NoError(t, err)
	assert.Zero(t, left)
	single, prefixes := b.addresses.Entered()
	assert.Equal(t, 400, single)
	assert.Zero(t, prefixes, "they are found at once")
	add(900)
	left, err = b.addresses.Set(singles(addresses...))
	require.NoError(t, err)
	assert.Zero(t, left)
	_, prefixes = b.addresses.Entered()
	assert.NotZero(t, prefixes, "not all found a place")
	add(2000)
	left, err = b.addresses.Set(singles(addresses...))
	require.NoError(t, err)
	assert.GreaterOrEqual(t, left, 3300-1024-512)
	left, err = b.addresses.Set(nil)
	require.NoError(t, err)
	assert.Zero(t, left)
	single, prefixes = b.addresses.Entered()
	assert.Zero(t, single)
	assert.Zero(t, prefixes)
	var key [20]byte
	require.ErrorIs(t, b.objects.Maps["local_prefixes"].NextKey(nil, &key), ebpf.ErrKeyNotExist)
}

func TestTCSelection(t *testing.T) {
	data, syn := wire.Ordinary(t), wire.Ordinary(t, wire.OnlySYN)
	t.Run("by class", func(t *testing.T) {
		b := newBench(t, config(func(c *settings.Config) {
			c.PacketSampleRate, c.PacketClasses = 0, []packet.Class{packet.SYN, packet.RST}
		}))
		b.run("tc_ingress_eth", data)
		assert.Nil(t, b.packet())
		b.run("tc_ingress_eth", syn)
		require.NotNil(t, b.packet())
		b.run("tc_ingress_eth", wire.Ordinary(t, reset))
		require.NotNil(t, b.packet())
	})
	t.Run("by rate", func(t *testing.T) {
		b := newBench(t, config(func(c *settings.Config) { c.PacketSampleRate = 10 }))
		_, _, err := b.objects.Programs["tc_ingress_eth"].Benchmark(data, 10_000, nil)
		require.NoError(t, err)
		assert.InDelta(t, 1000, b.ledger().Produced[shared.EventPacket], 200)
	})
	t.Run("off", func(t *testing.T) {
		b := newBench(t, config(func(c *settings.Config) { c.PacketSampleRate = 0 }))
		b.run("tc_ingress_eth", syn)
		assert.Nil(t, b.packet())
		assert.Zero(t, b.ledger().Produced[shared.EventPacket])
		assert.EqualValues(t, 1, b.totals(tc.Ingress).Packets[packet.SYN])
	})
}

func TestTCPacketBooks(t *testing.T) {
	t.Run("rate limit", func(t *testing.T) {
		b := newBench(t, config(func(c *settings.Config) { c.PacketsPerSecond = 1 }))
		for range 1 + 5 {
			b.run("tc_ingress_eth", wire.Ordinary(t))
		}
		assert.NotNil(t, b.packet())
		assert.Nil(t, b.packet())
		assert.EqualValues(t, 1+5, b.ledger().Produced[shared.EventPacket])
		assert.EqualValues(t, 5, b.ledger().Lost[shared.EventPacket][shared.CauseRateLimited])
	})
	t.Run("ring full", func(t *testing.T) {
		b := newBench(t, config(func(c *settings.Config) { c.RingBytes = 4096 }))
		for range 100 {
			b.run("tc_ingress_eth", wire.Ordinary(t))
		}
		delivered := uint64(0)
		for b.packet() != nil {
			delivered++
		}
		assert.Positive(t, delivered)
		assert.EqualValues(t, 100, b.ledger().Produced[shared.EventPacket])
		assert.Equal(t, 100-delivered, b.ledger().Lost[shared.EventPacket][shared.CauseRingFull])
	})
}

func TestTCFilters(t *testing.T) {
	stranger := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(func(ip *layers.IPv4) {
		ip.SrcIP = netip.MustParseAddr("203.0.113.1").AsSlice()
	}), wire.Segment(), wire.Payload(9))
	t.Run("clients", func(t *testing.T) {
		b := newBench(t, config(includeTestClients))
		b.run("tc_ingress_eth", wire.Ordinary(t))
		require.NotNil(t, b.packet())
		b.run("tc_egress_eth", egressOf(wire.Ordinary(t)))
		require.NotNil(t, b.packet())
		b.run("tc_ingress_eth", wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv6), wire.IPv6(layers.IPProtocolTCP), wire.Segment()))
		require.NotNil(t, b.packet())
		b.run("tc_ingress_eth", stranger)
		assert.Nil(t, b.packet())
		assert.EqualValues(t, 1, b.totals(tc.Ingress).Packets[packet.Data])
	})
	t.Run("ports", func(t *testing.T) {
		b := newBench(t, config(func(c *settings.Config) {
			c.IncludePorts = []settings.PortRange{{First: 8000, Last: 8079}, {First: 8081, Last: 9000}}
		}))
		b.listen(8081, true)
		b.run("tc_ingress_eth", wire.Ordinary(t))
		assert.Nil(t, b.packet())
		b.run("tc_ingress_eth", wire.Ordinary(t, toPort(8081)))
		require.NotNil(t, b.packet())
	})
}

// TestTCRefusedIsNotHalfOpen: an attempt on a port whose listener is at another address.
func TestTCRefusedIsNotHalfOpen(t *testing.T) {
	b := newBench(t, config(trackHalfOpen), func(o *Options) { o.RefusedAtEgress = true })
	key := shared.HalfOpenKey{Netns: testNetNS}
	key.Flow.Local, key.Flow.Remote = wire.Server4.As16(), wire.Client4.As16()
	key.Flow.LocalPort, key.Flow.RemotePort = wire.ServerPort, wire.ClientPort
	handshakes := b.maps["half_open_handshakes"]

	b.run("tc_ingress_eth", wire.Ordinary(t, wire.OnlySYN))
	require.NoError(t, handshakes.Lookup(&key, new(shared.HalfOpen)))
	b.run("tc_egress_eth", egressOf(wire.Ordinary(t, reset, func(tcp *layers.TCP) { tcp.ACK, tcp.Seq, tcp.Window = true, 0, 0 })))
	failed := b.failed()
	require.NotNil(t, failed)
	assert.EqualValues(t, shared.FailureRefused, failed.Failure)
	assert.ErrorIs(t, handshakes.Lookup(&key, new(shared.HalfOpen)), ebpf.ErrKeyNotExist)
}

func TestTCSweepsHalfOpen(t *testing.T) {
	b := newBench(t, config(trackHalfOpen, func(c *settings.Config) { c.FailedPerSecond = 2 }))
	handshakes := b.maps["half_open_handshakes"]
	name := func(uint32, uint32) string { return "lo" }
	h := new(failures)
	b.run("tc_ingress_eth", wire.Ordinary(t, wire.OnlySYN))
	b.sweepHalfOpen(h, name)
	require.Empty(t, h.failed, "it is younger than the timeout")

	var now unix.Timespec
	require.NoError(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &now))
	old := shared.HalfOpen{First: uint64(now.Nano() - 2*time.Second.Nanoseconds()), Ifindex: loopbackIndex}
	for port := range uint16(5) {
		key := shared.HalfOpenKey{Netns: testNetNS}
		key.Flow.Local, key.Flow.Remote = wire.Server4.As16(), wire.Client4.As16()
		key.Flow.LocalPort, key.Flow.RemotePort = wire.ServerPort, 1000+port
		require.NoError(t, handshakes.Put(&key, &old))
	}
	b.sweepHalfOpen(h, name)
	require.Len(t, h.failed, 2, "the rate allows no more")
	assert.Equal(t, connection.FailureHandshakeTimeout, h.failed[0].Type)
	assert.Equal(t, netip.AddrPortFrom(wire.Server4, wire.ServerPort), h.failed[0].Server)
	assert.Equal(t, wire.Client4, h.failed[0].Client.Addr())
	assert.Equal(t, "lo", h.failed[0].Interface)
	assert.InDelta(t, time.Now().Add(-time.Second).UnixNano(), h.failed[0].Time, float64(time.Second))
	assert.EqualValues(t, 5, b.sweptHalfOpen())
	assert.Equal(t, map[ledger.Cause]int{ledger.RateLimited: 3}, h.lost)
	assert.EqualValues(t, 5, b.portCount(wire.ServerPort, 4, connection.FailureHandshakeTimeout))
	b.sweepHalfOpen(h, name)
	assert.EqualValues(t, 5, b.sweptHalfOpen(), "each once; the young one is still there")
}

func TestTCRefusedAtEgress(t *testing.T) {
	refusing := func(o *Options) { o.RefusedAtEgress = true }
	answer := func(change ...func(*layers.TCP)) []byte {
		set := func(tcp *layers.TCP) {
			tcp.RST, tcp.Seq, tcp.Window, tcp.DstPort = true, 0, 0, 9
		}
		return egressOf(wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(),
			wire.Segment(append([]func(*layers.TCP){set}, change...)...)))
	}
	b := newBench(t, config(), refusing)
	b.run("tc_egress_eth", answer())
	failed := b.failed()
	require.NotNil(t, failed)
	want := flow4()
	want.LocalPort = 9
	assert.Equal(t, want, failed.Flow)
	assert.EqualValues(t, shared.FailureRefused, failed.Failure)
	assert.EqualValues(t, 1, b.portCount(0, 4, connection.FailureRefused))
	assert.EqualValues(t, 1, b.ledger().Produced[shared.EventFailed])
	assert.Equal(t, shared.InterfaceCounters{}, b.totals(tc.Egress))

	for name, frame := range map[string][]byte{
		"a sequence number": answer(func(tcp *layers.TCP) { tcp.Seq = 1 }),
		"a window":          answer(func(tcp *layers.TCP) { tcp.Window = 1 }),
		"no acknowledgment": answer(func(tcp *layers.TCP) { tcp.ACK = false }),
	} {
		b.run("tc_egress_eth", frame)
		assert.Nil(t, b.failed(), name)
	}
	b.run("tc_ingress_eth", answer())
	assert.Nil(t, b.failed(), "at ingress")
	b.listen(9, true)
	b.run("tc_egress_eth", answer())
	require.NotNil(t, b.failed(), "somebody listens at another address only")
	require.NotNil(t, b.packet(), "of a port that listens")
	b.listen(9, false)
	require.NoError(t, b.setLookFurther(true))
	b.run("tc_egress_eth", answer())
	assert.Nil(t, b.failed(), "another host's refusal, forwarded")

	off := newBench(t, config())
	off.run("tc_egress_eth", answer())
	assert.Nil(t, off.failed())

	limited := newBench(t, config(func(c *settings.Config) { c.FailedPerSecond = 1 }), refusing)
	limited.run("tc_egress_eth", answer())
	assert.NotNil(t, limited.failed())
	limited.run("tc_egress_eth", answer())
	assert.Nil(t, limited.failed())
	assert.EqualValues(t, 1, limited.ledger().Lost[shared.EventFailed][shared.CauseRateLimited])
	assert.EqualValues(t, 2, limited.portCount(0, 4, connection.FailureRefused))
}

func TestTCForeignInterfacesCountAsOther(t *testing.T) {
	b := newBench(t, config())
	require.NoError(t, b.counts.release(loopbackIndex, b.interfaces[loopbackIndex].slot))
	delete(b.interfaces, loopbackIndex)
	b.run("tc_ingress_eth", wire.Ordinary(t))
	all := b.counters()
	require.Len(t, all, 2)
	assert.Equal(t, otherInterfaces, all[0].Name)
	assert.EqualValues(t, 1, all[0].Packets[packet.Data]+all[1].Packets[packet.Data])
}
