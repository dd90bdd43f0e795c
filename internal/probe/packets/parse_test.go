// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package packets

import (
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// raw is a layer of bytes as they are.
func raw(b ...byte) gopacket.Payload { return b }

// wellFormedFrame is a segment that any stack may send, and what is to be read of it.
type wellFormedFrame struct {
	name    string
	frame   []byte
	flow    shared.Flow
	payload uint32
	options int
}

func wellFormed(t *testing.T) []wellFormedFrame {
	t.Helper()
	eth4, eth6 := layers.EthernetTypeIPv4, layers.EthernetTypeIPv6
	tcpBytes := func(family gopacket.NetworkLayer, n int) gopacket.Payload {
		tcp := wire.Segment()
		require.NoError(t, tcp.SetNetworkLayerForChecksum(family))
		buffer := gopacket.NewSerializeBuffer()
		require.NoError(t, gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, tcp, wire.Payload(n)))
		return buffer.Bytes()
	}
	over6 := func(first layers.IPProtocol, extensions ...gopacket.SerializableLayer) []byte {
		ip := wire.IPv6(first)
		stack := append([]gopacket.SerializableLayer{wire.Ethernet(eth6), ip}, extensions...)
		return wire.Build(t, append(stack, tcpBytes(ip, 100))...)
	}
	const (
		hop, routing, dst = layers.IPProtocolIPv6HopByHop, layers.IPProtocolIPv6Routing, layers.IPProtocolIPv6Destination
		frag, ah, tcp     = layers.IPProtocolIPv6Fragment, layers.IPProtocolAH, layers.IPProtocolTCP
	)
	authentication := raw(append([]byte{byte(tcp), 4}, make([]byte, 22)...)...)
	withOptions := wire.Segment(func(tcp *layers.TCP) {
		tcp.Options = []layers.TCPOption{
			{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 0xb4}},
			{OptionType: layers.TCPOptionKindSACKPermitted, OptionLength: 2},
			{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)},
			{OptionType: layers.TCPOptionKindNop},
			{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{7}},
		}
	})
	fullOptions := wire.Segment(func(tcp *layers.TCP) {
		tcp.Options = []layers.TCPOption{{OptionType: 254, OptionLength: 40, OptionData: make([]byte, 38)}}
	})
	nops := wire.Segment(func(tcp *layers.TCP) {
		for range 40 {
			tcp.Options = append(tcp.Options, layers.TCPOption{OptionType: layers.TCPOptionKindNop})
		}
	})
	ipOptions := wire.IPv4(func(ip *layers.IPv4) {
		ip.Options = []layers.IPv4Option{{OptionType: 7, OptionLength: 39, OptionData: make([]byte, 37)}}
	})
	splitOptions := slices.Clone(tcpBytes(wire.IPv4(), 4))
	splitOptions[12] = 0xa0
	return []wellFormedFrame{
		{"IPv4", wire.Ordinary(t), flow4(), 100, 0},
		{"no payload", wire.Build(t, wire.Ethernet(eth4), wire.IPv4(), wire.Segment()), flow4(), 0, 0},
		{"Ethernet padding", append(wire.Build(t, wire.Ethernet(eth4), wire.IPv4(), wire.Segment()), make([]byte, 6)...), flow4(), 0, 0},
		{"IPv4 options", wire.Build(t, wire.Ethernet(eth4), ipOptions, wire.Segment(), wire.Payload(100)), flow4(), 100, 0},
		{"TCP options", wire.Build(t, wire.Ethernet(eth4), wire.IPv4(), withOptions, wire.Payload(100)), flow4(), 100, 20},
		{"40 bytes of options", wire.Build(t, wire.Ethernet(eth4), wire.IPv4(), fullOptions, wire.Payload(100)), flow4(), 100, 40},
		{"40 NOPs", wire.Build(t, wire.Ethernet(eth4), wire.IPv4(), nops), flow4(), 0, 40},
		{"VLAN in-band", wire.Build(t, wire.Ethernet(0x8100), wire.VLAN(5, eth4), wire.IPv4(), wire.Segment(), wire.Payload(100)), flow4(), 100, 0},
		{"QinQ in-band", wire.Build(t, wire.Ethernet(0x88a8), wire.VLAN(5, 0x8100), wire.VLAN(6, eth4), wire.IPv4(), wire.Segment(), wire.Payload(100)), flow4(), 100, 0},
		{"three tags in-band", wire.Build(t, wire.Ethernet(0x9100), wire.VLAN(5, 0x88a8), wire.VLAN(6, 0x8100), wire.VLAN(7, eth6), wire.IPv6(tcp), wire.Segment(), wire.Payload(9)), flow6(), 9, 0},
		{"IPv6", wire.Build(t, wire.Ethernet(eth6), wire.IPv6(tcp), wire.Segment(), wire.Payload(100)), flow6(), 100, 0},
		{"hop-by-hop", over6(hop, wire.Extension(tcp, 0)), flow6(), 100, 0},
		{"routing, dst", over6(routing, wire.Extension(dst, 2), wire.Extension(tcp, 1)), flow6(), 100, 0},
		{"atomic fragment", over6(frag, wire.FragmentHeader(tcp, 0, false)), flow6(), 100, 0},
		{"AH", over6(ah, authentication), flow6(), 100, 0},
		{"eight extensions", over6(
			hop, wire.Extension(dst, 0), wire.Extension(routing, 0), wire.Extension(dst, 0), wire.Extension(dst, 0),
			wire.Extension(dst, 0), wire.Extension(dst, 0), wire.Extension(dst, 31), wire.Extension(tcp, 0),
		), flow6(), 100, 0},
		{"first IPv4 fragment", wire.Build(t, wire.Ethernet(eth4), wire.IPv4(func(ip *layers.IPv4) { ip.Flags = layers.IPv4MoreFragments }), wire.Segment(), wire.Payload(96)), flow4(), 96, 0},
		{"first fragment ends in the options", wire.Build(t, wire.Ethernet(eth4), wire.IPv4(func(ip *layers.IPv4) { ip.Flags = layers.IPv4MoreFragments }), raw(splitOptions...)), flow4(), 0, 4},
		{"first IPv6 fragment", over6(frag, wire.FragmentHeader(tcp, 0, true)), flow6(), 100, 0},
	}
}

func TestTCParsesWellFormed(t *testing.T) {
	b := newBench(t, config())
	for _, test := range wellFormed(t) {
		t.Run(test.name, func(t *testing.T) {
			b.t = t
			before := b.totals(tc.Ingress)
			b.run("tc_ingress_eth", test.frame)
			record := b.packet()
			require.NotNil(t, record)
			assert.Equal(t, test.flow, record.Flow)
			assert.Equal(t, test.payload, record.Payload)
			assert.EqualValues(t, test.options, record.OptionsLen)
			assert.EqualValues(t, len(test.frame), record.Length)
			assert.EqualValues(t, 0x01020304, record.Sequence)
			assert.EqualValues(t, 0x05060708, record.Acknowledgment)
			assert.EqualValues(t, 0x1234, record.Window)
			assert.EqualValues(t, 0x10, record.Flags)
			assert.EqualValues(t, loopbackIndex, record.Ifindex)
			assert.EqualValues(t, testNetNS, record.Head.Netns)
			assert.Zero(t, record.Malformed)
			assert.Zero(t, record.Egress)
			class := packet.ACK
			if test.payload > 0 {
				class = packet.Data
			}
			before.Packets[class]++
			before.Bytes[class] += uint64(len(test.frame))
			assert.Equal(t, before, b.totals(tc.Ingress))
			assert.Nil(t, b.packet())
		})
	}
}

func TestTCCountsMalformed(t *testing.T) {
	b := newBench(t, config())
	eth4, eth6 := layers.EthernetTypeIPv4, layers.EthernetTypeIPv6
	const ip4, tcp4 = 14, 34 // offsets in a plain frame
	plain := func(edit func([]byte) []byte) []byte { return edit(wire.Ordinary(t)) }
	set := func(at int, value ...byte) func([]byte) []byte {
		return func(f []byte) []byte { copy(f[at:], value); return f }
	}
	cut := func(to int) func([]byte) []byte { return func(f []byte) []byte { return f[:to] } }
	options := func(o ...byte) []byte {
		frame := wire.Build(t, wire.Ethernet(eth4), wire.IPv4(), wire.Segment(), raw(o...))
		frame[tcp4+12] = byte(5+len(o)/4) << 4
		return frame
	}
	over6 := func(next layers.IPProtocol, body ...gopacket.SerializableLayer) []byte {
		return wire.Build(t, append([]gopacket.SerializableLayer{wire.Ethernet(eth6), wire.IPv6(next)}, body...)...)
	}
	chain := func(n int) (stack []gopacket.SerializableLayer) {
		for range n - 1 {
			stack = append(stack, wire.Extension(layers.IPProtocolIPv6Destination, 0))
		}
		return append(stack, wire.Extension(layers.IPProtocolTCP, 0), wire.Payload(20))
	}
	// TEST_RUN wants whole IP headers where it expects IP: behind a tag it does not.
	tagged := func(frame []byte) []byte {
		return append(append(frame[:12:12], 0x81, 0x00, 0, 5), frame[12:]...)
	}
	for name, test := range map[string]struct {
		frame  []byte
		kind   packet.Malformed
		record bool // ports were read, so it is also of a class
	}{
		"IPv4 header cut in the first bytes": {tagged(plain(cut(ip4 + 6))), packet.IPTruncated, false},
		"IPv4 header cut before addresses":   {tagged(plain(cut(ip4 + 14))), packet.IPTruncated, false},
		"IPv4 options cut":                   {plain(func(f []byte) []byte { f[ip4] = 0x4f; return f[:ip4+30] }), packet.IPTruncated, false},
		"IPv6 header cut":                    {tagged(over6(layers.IPProtocolTCP, wire.Payload(20))[:14+30]), packet.IPTruncated, false},
		"extension header cut":               {over6(layers.IPProtocolIPv6Destination, raw(6, 5, 0, 0, 0, 0, 0, 0)), packet.IPTruncated, false},
		"version 5":                          {plain(set(ip4, 0x55)), packet.IPHeader, false},
		"version 4 in IPv6":                  {func() []byte { f := over6(layers.IPProtocolTCP, wire.Payload(20)); f[14] = 0x45; return f }(), packet.IPHeader, false},
		"header length 4":                    {plain(set(ip4, 0x44)), packet.IPHeader, false},
		"hop-by-hop not first":               {over6(layers.IPProtocolIPv6Destination, wire.Extension(0, 0), wire.Extension(6, 0), wire.Payload(20)), packet.IPHeader, false},
		"nine extension headers":             {over6(layers.IPProtocolIPv6Destination, chain(9)...), packet.IPHeader, false},
		"total length below the header":      {plain(set(ip4+2, 0, 19)), packet.IPLength, false},
		"total length 0":                     {plain(set(ip4+2, 0, 0)), packet.IPLength, false},
		"total length beyond the frame":      {plain(set(ip4+2, 0x10, 0)), packet.IPLength, false},
		"IPv6 payload beyond the frame":      {func() []byte { f := over6(layers.IPProtocolTCP, wire.Payload(20)); f[19]++; return f }(), packet.IPLength, false},
		"extension beyond the datagram": {func() []byte {
			f := over6(layers.IPProtocolIPv6Destination, wire.Extension(6, 1), wire.Payload(20))
			f[19] = 8
			return f
		}(), packet.IPLength, false},
		"datagram ends in the TCP header": {plain(set(ip4+2, 0, 39)), packet.TCPTruncated, false},
		"datagram ends before TCP":        {plain(set(ip4+2, 0, 20)), packet.TCPTruncated, false},
		"tiny first fragment":             {wire.Build(t, wire.Ethernet(eth4), wire.IPv4(func(ip *layers.IPv4) { ip.Flags = layers.IPv4MoreFragments }), wire.Payload(8)), packet.TCPTruncated, false},
		"IPv6 without payload":            {over6(layers.IPProtocolTCP), packet.TCPTruncated, false},
		"data offset 4":                   {plain(set(tcp4+12, 0x40)), packet.TCPOffset, true},
		"data offset 0":                   {plain(set(tcp4+12, 0x00)), packet.TCPOffset, true},
		"data offset beyond the datagram": {func() []byte { f := options(1, 1, 1, 1); f[tcp4+12] = 0xf0; return f }(), packet.TCPOffset, true},
		"option length 0":                 {options(2, 0, 0, 0), packet.TCPOptions, true},
		"option length 1":                 {options(1, 8, 1, 0), packet.TCPOptions, true},
		"option past the header":          {options(1, 1, 5, 10), packet.TCPOptions, true},
		"option kind without length":      {options(1, 1, 1, 5), packet.TCPOptions, true},
		"no flags":                        {plain(set(tcp4+13, 0)), packet.TCPFlags, true},
		"only CWR":                        {plain(set(tcp4+13, 0x80)), packet.TCPFlags, true},
		"SYN and FIN":                     {plain(set(tcp4+13, 0x03)), packet.TCPFlags, true},
		"SYN and RST":                     {plain(set(tcp4+13, 0x06)), packet.TCPFlags, true},
		"client port 0":                   {plain(set(tcp4, 0, 0)), packet.TCPPort, true},
		"server port 0":                   {plain(set(tcp4+2, 0, 0)), packet.TCPPort, false},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			before := b.totals(tc.Ingress)
			b.run("tc_ingress_eth", test.frame)
			after := b.totals(tc.Ingress)
			before.Malformed[test.kind]++
			assert.Equal(t, before.Malformed, after.Malformed)
			record := b.packet()
			require.Equal(t, test.record, record != nil)
			if record != nil {
				assert.EqualValues(t, test.kind, record.Malformed)
			}
		})
	}
}

func TestTCIgnoresWhatIsNotTCP(t *testing.T) {
	b := newBench(t, config())
	udp := wire.IPv4(func(ip *layers.IPv4) { ip.Protocol = layers.IPProtocolUDP })
	for name, frame := range map[string][]byte{
		"UDP": wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), udp, wire.Payload(40)),
		"UDP with bad lengths": func() []byte {
			f := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), udp, wire.Payload(40))
			f[16] = 0xff
			return f
		}(),
		"ARP":               wire.Build(t, wire.Ethernet(layers.EthernetTypeARP), wire.Payload(46)),
		"four tags":         wire.Build(t, wire.Ethernet(0x8100), wire.VLAN(1, 0x8100), wire.VLAN(1, 0x8100), wire.VLAN(1, 0x8100), wire.VLAN(1, layers.EthernetTypeIPv4), wire.IPv4(), wire.Segment()),
		"ICMPv6 behind dst": wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv6), wire.IPv6(layers.IPProtocolIPv6Destination), wire.Extension(layers.IPProtocolICMPv6, 0), wire.Payload(8)),
		"no next header":    wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv6), wire.IPv6(layers.IPProtocolNoNextHeader), wire.Payload(8)),
		"UDP fragment":      wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv6), wire.IPv6(layers.IPProtocolIPv6Fragment), wire.FragmentHeader(layers.IPProtocolUDP, 100, false), wire.Payload(8)),
		"cut in the tag":    wire.Build(t, wire.Ethernet(0x8100), raw(0, 5)),
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			b.run("tc_ingress_eth", frame)
			assert.Nil(t, b.packet())
			assert.Equal(t, shared.InterfaceCounters{}, b.totals(tc.Ingress))
		})
	}
}

func TestTCCountsFragments(t *testing.T) {
	b := newBench(t, config())
	later := wire.IPv4(func(ip *layers.IPv4) { ip.FragOffset = 3 })
	b.run("tc_ingress_eth", wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), later, wire.Payload(100)))
	b.run("tc_ingress_eth", wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv6), wire.IPv6(layers.IPProtocolIPv6Fragment),
		wire.FragmentHeader(layers.IPProtocolTCP, 3, true), wire.Payload(96)))
	b.run("tc_egress_eth", wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), later, wire.Payload(100)))
	assert.Nil(t, b.packet())
	assert.Equal(t, shared.InterfaceCounters{Fragments: 2}, b.totals(tc.Ingress))
	assert.Equal(t, shared.InterfaceCounters{Fragments: 1}, b.totals(tc.Egress))
}

func TestTCFlagClasses(t *testing.T) {
	b := newBench(t, config())
	const fin, syn, rst, psh, ack, urg, ece, cwr = 1, 2, 4, 8, 16, 32, 64, 128
	for flags := range 256 {
		want := packet.Abnormal
		switch flags & (fin | syn | rst | ack) {
		case syn:
			want = packet.SYN
		case syn | ack:
			want = packet.SYNACK
		case rst, rst | ack:
			want = packet.RST
		case fin | ack:
			want = packet.FIN
		case ack:
			want = packet.Data
		}
		frame := wire.Ordinary(t)
		frame[34+13] = byte(flags)
		before := b.totals(tc.Ingress)
		b.run("tc_ingress_eth", frame)
		record := b.packet()
		require.NotNil(t, record)
		require.EqualValues(t, flags, record.Flags)
		before.Packets[want]++
		require.Equal(t, before.Packets, b.totals(tc.Ingress).Packets, "flags %#x", flags)
	}
}

func TestTCCountsSegmentsOfSuperPackets(t *testing.T) {
	const header = 14 + 20 + 20
	for name, test := range map[string]struct {
		context  skbContext
		segments uint64
	}{
		"count given":         {gsoContext(4, 300), 4},
		"size only, rounded":  {gsoContext(0, 300), 4},
		"size only, exact":    {gsoContext(0, 250), 4},
		"neither":             {gsoContext(0, 0), 1},
		"one segment, a size": {gsoContext(1, 1448), 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, config())
			frame := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(), wire.Segment(), wire.Payload(1000))
			b.run("tc_egress_eth", egressOf(frame), test.context)
			counted := b.totals(tc.Egress)
			wire := uint64(len(frame)) + (test.segments-1)*header
			assert.Equal(t, test.segments, counted.Packets[packet.Data])
			assert.Equal(t, wire, counted.Bytes[packet.Data])
			record := b.packet()
			require.NotNil(t, record)
			assert.EqualValues(t, 1000, record.Payload)
			assert.EqualValues(t, wire, record.Length)
			assert.EqualValues(t, 1, record.Egress)
			assert.Equal(t, flow4(), record.Flow)
		})
	}
}

// egressOf turns a plain inbound frame round.
func egressOf(frame []byte) []byte {
	turned := append([]byte(nil), frame...)
	exchange := func(at, size int) {
		copy(turned[at:at+size], frame[at+size:at+2*size])
		copy(turned[at+size:at+2*size], frame[at:at+size])
	}
	if frame[14]>>4 == 6 {
		exchange(14+8, 16)
		exchange(14+40, 2)
		return turned
	}
	exchange(14+12, 4)
	exchange(14+20, 2)
	return turned
}

// The fast path counts what the thorough one would: the same frames, with and
// without a reason to look closely.
func TestTCFastPathCountsTheSame(t *testing.T) {
	fast := newBench(t, config(func(c *settings.Config) { c.PacketSampleRate = 0 }))
	thorough := newBench(t, config())
	stamped := wire.Ordinary(t, func(tcp *layers.TCP) {
		nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop}
		stamp := layers.TCPOption{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)}
		tcp.Options = []layers.TCPOption{nop, nop, stamp}
	})
	frames := [][]byte{stamped, wire.Ordinary(t), egressOf(stamped)}
	for _, test := range wellFormed(t) {
		frames = append(frames, test.frame)
	}
	for _, check := range []bool{false, true} {
		for _, b := range []*bench{fast, thorough} {
			require.NoError(t, b.setLookFurther(check))
		}
		for n, frame := range frames {
			// Also with every header byte changed, one by one.
			for at := 12; at < min(len(frame), 80); at++ {
				for _, value := range []byte{0, 1, 0x50, 0x80, 0xff, frame[at] ^ 0x10} {
					changed := append([]byte(nil), frame...)
					changed[at] = value
					for _, b := range []*bench{fast, thorough} {
						b.run("tc_ingress_eth", changed, gsoContext(uint32(n%3), 30))
						b.run("tc_egress_eth", changed)
					}
				}
			}
		}
		for thorough.packet() != nil { //nolint:revive // empties the ring
		}
		for d := range tc.Directions {
			require.NotZero(t, thorough.totals(d))
			assert.Equal(t, thorough.totals(d), fast.totals(d), "%s, check %t", d, check)
		}
	}
}
