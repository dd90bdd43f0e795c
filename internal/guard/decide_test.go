// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package guard

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// What the programs return.
const (
	pass = 0xffffffff
	drop = 2
)

// bench is a guard that is attached nowhere.
type bench struct {
	*Guard
	t testing.TB
}

func newBench(t testing.TB, change ...func(*Options)) *bench {
	t.Helper()
	options := Options{
		IPv6Prefix: 64, Sources: 1000, Networks: 1000, Allowed: 1000, FailOpenAfter: time.Hour,
		Managers: tc.NewRegistry(), Logger: zaptest.NewLogger(t),
	}
	for _, f := range change {
		f(&options)
	}
	g, err := New(options)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, g.Close()) })
	b := &bench{g, t}
	require.NoError(t, g.Renew())
	left, err := g.addresses.Set(map[netip.Prefix]bool{
		netip.PrefixFrom(netip.AddrFrom16(wire.Server4.As16()), 128): true,
		netip.PrefixFrom(wire.Server6, 128):                          true,
	})
	require.NoError(t, err)
	require.Zero(t, left)
	return b
}

func (b *bench) put(prefix string, block Block) {
	b.t.Helper()
	require.NoError(b.t, b.Put(netip.MustParsePrefix(prefix), block))
}

func (b *bench) gets(verdict uint32, frame []byte, about ...any) {
	b.t.Helper()
	got, err := b.objects.Programs[guardProgGuardIngressEth].Run(&ebpf.RunOptions{Data: frame})
	require.NoError(b.t, err)
	assert.Equal(b.t, verdict, got, about...)
}

// each sends frames from addresses, in any order.
func (b *bench) each(of map[string]uint32) {
	b.t.Helper()
	for address, verdict := range of {
		b.gets(verdict, frame4(b.t, from(address)), address)
	}
}

func (b *bench) counted(prefix string) Counts {
	b.t.Helper()
	c, err := b.Counts(netip.MustParsePrefix(prefix))
	require.NoError(b.t, err)
	return c
}

func from(address string) func(*layers.IPv4) {
	return func(ip *layers.IPv4) { ip.SrcIP = net.ParseIP(address).To4() }
}

func to(address string) func(*layers.IPv4) {
	return func(ip *layers.IPv4) { ip.DstIP = net.ParseIP(address).To4() }
}

func frame4(t testing.TB, change ...func(*layers.IPv4)) []byte {
	t.Helper()
	return wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(change...), wire.Segment(), wire.Payload(100))
}

func frame6(t testing.TB, source string) []byte {
	t.Helper()
	ip := wire.IPv6(layers.IPProtocolTCP)
	ip.SrcIP = net.ParseIP(source)
	return wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv6), ip, wire.Segment(), wire.Payload(100))
}

func TestDecidesBySource(t *testing.T) {
	b := newBench(t)
	ours, others := frame4(t), frame4(t, from("198.51.100.8"))
	b.gets(pass, ours)
	b.put("198.51.100.7/32", Block{Left: time.Hour})
	for range 3 {
		b.gets(drop, ours)
	}
	b.gets(pass, others)
	counts := b.counted("198.51.100.7/32")
	assert.Equal(t, uint64(3), counts.Packets)
	assert.Equal(t, uint64(3*len(ours)), counts.Bytes)
	assert.GreaterOrEqual(t, counts.Idle, time.Duration(0))

	// A change keeps the counts.
	b.put("198.51.100.7/32", Block{Left: 2 * time.Hour})
	b.gets(drop, ours)
	counts, err := b.Remove(netip.MustParsePrefix("198.51.100.7/32"))
	require.NoError(t, err)
	assert.Equal(t, uint64(4), counts.Packets)
	b.gets(pass, ours)
	_, err = b.Remove(netip.MustParsePrefix("198.51.100.7/32"))
	assert.ErrorIs(t, err, ebpf.ErrKeyNotExist)
}

func TestDecidesByIPv6Prefix(t *testing.T) {
	b := newBench(t)
	b.put("2001:db8:0:7::/64", Block{Left: time.Hour})
	b.gets(drop, frame6(t, "2001:db8:0:7::1"))
	b.gets(drop, frame6(t, "2001:db8:0:7:ffff:1:2:3"))
	b.gets(pass, frame6(t, "2001:db8:0:8::1"))
	assert.Equal(t, uint64(2), b.counted("2001:db8:0:7::/64").Packets)

	// Others are networks, of whatever length.
	b.put("2001:db8:0:8::1/128", Block{})
	b.put("2001:db8:9::/48", Block{})
	b.gets(drop, frame6(t, "2001:db8:0:8::1"))
	b.gets(pass, frame6(t, "2001:db8:0:8::2"))
	b.gets(drop, frame6(t, "2001:db8:9:ffff::2"))
}

func TestDecidesByNetwork(t *testing.T) {
	b := newBench(t)
	for _, prefix := range []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "203.0.113.0/25", "128.0.0.0/2"} {
		b.put(prefix, Block{})
	}
	b.each(map[string]uint32{
		"10.0.0.1": drop, "10.255.255.255": drop, "10.1.2.3": drop, "9.255.255.255": pass, "11.0.0.0": pass,
		"203.0.113.127": drop, "203.0.113.128": pass, "127.255.255.255": pass, "128.0.0.1": drop, "191.255.255.255": drop, "192.0.0.0": pass,
	})
	assert.Equal(t, uint64(1), b.counted("10.1.2.0/24").Packets, "the longest match counts")
	// Networks that are left keep their bits.
	for _, prefix := range []string{"10.0.0.0/8", "128.0.0.0/2"} {
		counts, err := b.Remove(netip.MustParsePrefix(prefix))
		require.NoError(t, err)
		assert.Equal(t, uint64(2), counts.Packets, prefix)
	}
	b.each(map[string]uint32{"10.0.0.1": pass, "10.1.2.3": drop, "10.1.3.3": drop, "128.0.0.1": pass})
	seen := map[string]uint64{}
	require.NoError(t, b.Each(func(p netip.Prefix, c Counts) { seen[p.String()] = c.Packets }))
	assert.Equal(t, map[string]uint64{"10.1.0.0/16": 1, "10.1.2.0/24": 2, "203.0.113.0/25": 1}, seen)
}

// What a rule only tries hides no list that drops.
func TestDecidesByDryRunInANetwork(t *testing.T) {
	b := newBench(t)
	b.put("198.51.100.0/24", Block{})
	b.put("198.51.100.7/32", Block{DryRun: true})
	b.put("203.0.113.7/32", Block{DryRun: true})
	b.put("203.0.113.0/24", Block{DryRun: true})
	b.each(map[string]uint32{"198.51.100.7": drop, "198.51.100.8": drop, "203.0.113.7": pass, "203.0.113.8": pass})
	assert.Equal(t, uint64(2), b.counted("198.51.100.0/24").Packets)
	assert.Equal(t, uint64(1), b.counted("203.0.113.7/32").Packets)
}

func TestDecidesByAllowed(t *testing.T) {
	b := newBench(t)
	b.put("198.51.100.0/24", Block{HasAllowed: true})
	b.put("2001:db8:0:7::/64", Block{HasAllowed: true})
	require.NoError(t, b.Allow([]netip.Prefix{netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("2001:db8:0:7::5/128")}))
	b.gets(pass, frame4(t))
	b.gets(drop, frame4(t, from("198.51.100.8")))
	b.gets(pass, frame6(t, "2001:db8:0:7::5"))
	b.gets(drop, frame6(t, "2001:db8:0:7::6"))
	assert.Equal(t, uint64(1), b.counted("2001:db8:0:7::/64").Passed)

	// A changed list counts at once.
	require.NoError(t, b.Allow([]netip.Prefix{netip.MustParsePrefix("198.51.100.8/31")}))
	b.gets(drop, frame4(t))
	b.gets(pass, frame4(t, from("198.51.100.8")))
	b.gets(drop, frame6(t, "2001:db8:0:7::5"))
	totals, err := b.Totals()
	require.NoError(t, err)
	assert.Equal(t, uint64(3), totals.Packets[Allowed])
}

func TestDecidesByMode(t *testing.T) {
	b := newBench(t)
	ours := frame4(t)
	b.put("198.51.100.7/32", Block{DryRun: true})
	b.gets(pass, ours)
	b.gets(pass, ours)
	assert.Equal(t, uint64(2), b.counted("198.51.100.7/32").Packets)
	b.put("198.51.100.7/32", Block{Limit: 3})
	dropped := 0
	for range 20 {
		verdict, err := b.objects.Programs[guardProgGuardIngressEth].Run(&ebpf.RunOptions{Data: ours})
		require.NoError(t, err)
		if verdict == drop {
			dropped++
		}
	}
	// A second may have ended meanwhile.
	assert.LessOrEqual(t, dropped, 17)
	assert.Positive(t, dropped)
	totals, err := b.Totals()
	require.NoError(t, err)
	assert.Equal(t, uint64(20-dropped), totals.Packets[WithinLimit])
	assert.Equal(t, uint64(2+dropped), b.counted("198.51.100.7/32").Packets)
}

func TestDecidesByDestinationAndProtocol(t *testing.T) {
	udp := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(func(ip *layers.IPv4) { ip.Protocol = layers.IPProtocolUDP }), wire.Payload(28))
	udp6 := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv6), wire.IPv6(layers.IPProtocolUDP), wire.Payload(28))
	elsewhere := frame4(t, to("192.0.2.99"))
	extended := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv6), wire.IPv6(layers.IPProtocolIPv6HopByHop), wire.Extension(layers.IPProtocolTCP, 0), wire.Segment())
	for _, of := range []struct {
		change                         func(*Options)
		udp, udp6, elsewhere, extended uint32
	}{
		{func(*Options) {}, pass, pass, pass, drop},
		{func(o *Options) { o.Forwarded = true }, pass, pass, drop, drop},
		{func(o *Options) { o.AllProtocols = true }, drop, drop, pass, drop},
	} {
		b := newBench(t, of.change)
		b.put("198.51.100.7/32", Block{})
		b.put("2001:db8:ffff::/64", Block{})
		b.gets(of.udp, udp, "UDP")
		b.gets(of.udp6, udp6, "UDP over IPv6")
		b.gets(of.elsewhere, elsewhere, "forwarded")
		b.gets(of.extended, extended, "extension header")
	}
}

// Frames that are no ordinary segments of a blocked source are dropped, too, as far as they
// are segments.
func TestDecidesAboutStrangeFrames(t *testing.T) {
	b := newBench(t)
	b.put("198.51.100.7/32", Block{})
	tagged := wire.Build(t, wire.Ethernet(layers.EthernetTypeDot1Q), wire.VLAN(7, layers.EthernetTypeIPv4), wire.IPv4(), wire.Segment())
	fragment := frame4(t, func(ip *layers.IPv4) { ip.FragOffset = 100 })
	b.gets(drop, tagged, "VLAN")
	b.gets(drop, fragment, "fragment")
	b.gets(drop, frame4(t)[:14+20+5], "cut in the TCP header")
	arp := wire.Build(t, wire.Ethernet(layers.EthernetTypeARP), wire.Payload(28))
	b.gets(pass, arp, "ARP")
}

// Blocks end by themselves, and all of them at the deadline.
func TestDecidesByTime(t *testing.T) {
	b := newBench(t)
	ours := frame4(t)
	b.put("198.51.100.7/32", Block{Left: 50 * time.Millisecond})
	passes := func() bool {
		verdict, err := b.objects.Programs[guardProgGuardIngressEth].Run(&ebpf.RunOptions{Data: ours})
		return err == nil && verdict == pass
	}
	wire.Within(t, wire.Soon, passes, "the block ends")
	b.put("198.51.100.7/32", Block{})
	b.gets(drop, ours)
	require.NoError(t, b.LetPass())
	b.gets(pass, ours)
	holds, err := b.Holds()
	require.NoError(t, err)
	assert.False(t, holds)
	totals, err := b.Totals()
	require.NoError(t, err)
	assert.Equal(t, uint64(1), totals.Packets[Open])
	require.NoError(t, b.Renew())
	b.gets(drop, ours)

	b.options.FailOpenAfter = 50 * time.Millisecond
	require.NoError(t, b.Renew())
	wire.Within(t, wire.Soon, passes, "the deadline opens")
}

func TestRefusesWhenFull(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Sources, o.Networks, o.Allowed = 64, 2, 2 })
	var err error
	put := 0
	for i := 0; i < 200 && err == nil; i++ {
		put++
		err = b.Put(netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, byte(i)}), 32), Block{})
	}
	require.ErrorIs(t, err, ErrFull)
	assert.Greater(t, put, 64)
	b.put("10.0.0.0/8", Block{})
	b.put("11.0.0.0/8", Block{})
	require.ErrorIs(t, b.Put(netip.MustParsePrefix("12.0.0.0/8"), Block{}), ErrFull)
	b.gets(pass, frame4(t, from("12.0.0.1")))
	b.gets(drop, frame4(t, from("10.0.0.1")))
	require.ErrorIs(t, b.Allow([]netip.Prefix{
		netip.MustParsePrefix("1.0.0.0/8"), netip.MustParsePrefix("2.0.0.0/8"), netip.MustParsePrefix("3.0.0.0/8"),
	}), ErrFull)
}

func TestMeasuresTheClock(t *testing.T) {
	assert.Equal(t, uint64(250), nearest(241))
	assert.Equal(t, uint64(300), nearest(309))
	assert.Equal(t, uint64(1000), nearest(1012))
	assert.Equal(t, uint64(100), nearest(9))
	c := clock{perSecond: 250}
	assert.Equal(t, uint64(0), c.jiffies(-time.Second))
	assert.Equal(t, uint64(1), c.jiffies(1))
	assert.Equal(t, uint64(250*3600*24), c.jiffies(24*time.Hour))
	assert.Equal(t, 1500*time.Millisecond, c.duration(375))
}
