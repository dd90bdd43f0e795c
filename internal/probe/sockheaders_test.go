// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// atomicFragment is a fragment header of a datagram that is in one piece.
func atomicFragment() gopacket.Payload { return wire.FragmentHeader(layers.IPProtocolTCP, 0, false) }

// behindExtensions are what may stand between an IPv6 header and a TCP header.
func behindExtensions() map[string]struct {
	first   layers.IPProtocol
	headers []gopacket.SerializableLayer
} {
	type chain = struct {
		first   layers.IPProtocol
		headers []gopacket.SerializableLayer
	}
	return map[string]chain{
		"none":                {layers.IPProtocolTCP, nil},
		"destination options": {layers.IPProtocolIPv6Destination, []gopacket.SerializableLayer{options6(layers.IPProtocolTCP, 0)}},
		"long destination options": {
			layers.IPProtocolIPv6Destination, []gopacket.SerializableLayer{options6(layers.IPProtocolTCP, 3)},
		},
		"hop-by-hop options": {layers.IPProtocolIPv6HopByHop, []gopacket.SerializableLayer{options6(layers.IPProtocolTCP, 0)}},
		"atomic fragment":    {layers.IPProtocolIPv6Fragment, []gopacket.SerializableLayer{atomicFragment()}},
		"hop-by-hop options, destination options": {layers.IPProtocolIPv6HopByHop, []gopacket.SerializableLayer{
			options6(layers.IPProtocolIPv6Destination, 0), options6(layers.IPProtocolTCP, 1),
		}},
	}
}

// options6 is a header of one option that is skipped where it is not known: the kernel
// takes no more than 7 bytes of padding.
func options6(next layers.IPProtocol, more int) gopacket.Payload {
	header := wire.Extension(next, more)
	header[2] = 0x1e
	return header
}

// veth6 is a pair whose end here is the server of wire.Server6 and whose other end sends
// as wire.Client6. It returns the server's hardware address.
func veth6(t *testing.T, other *wire.Peer) net.HardwareAddr {
	t.Helper()
	other.Veth(t, "server")
	device, err := netlink.LinkByName("server")
	require.NoError(t, err)
	addAddress6(t, device, wire.Server6.String()+"/64")
	route := &netlink.Route{LinkIndex: device.Attrs().Index, Dst: netlink.NewIPNet(wire.Client6.AsSlice())}
	require.NoError(t, netlink.RouteAdd(route))
	other.EventuallyUp(t, "peer-server")
	return device.Attrs().HardwareAddr
}

// addAddress6 adds an address that is usable at once.
func addAddress6(t *testing.T, device netlink.Link, address string) {
	t.Helper()
	parsed, err := netlink.ParseAddr(address)
	require.NoError(t, err)
	parsed.Flags |= 0x02 // IFA_F_NODAD
	require.NoError(t, netlink.AddrAdd(device, parsed))
}

// segment6 is a frame with a TCP segment behind extension headers, with a right checksum.
func segment6(t *testing.T, to net.HardwareAddr, first layers.IPProtocol, headers []gopacket.SerializableLayer, tcp *layers.TCP) []byte {
	t.Helper()
	link := wire.Ethernet(layers.EthernetTypeIPv6)
	link.DstMAC = to
	plain := wire.Build(t, link, wire.IPv6(layers.IPProtocolTCP), tcp)
	stack := []gopacket.SerializableLayer{link, wire.IPv6(first)}
	stack = append(stack, headers...)
	return wire.Build(t, append(stack, gopacket.Payload(plain[14+40:]))...)
}

func TestSockDropsBehindIPv6Extensions(t *testing.T) {
	enterNetNS(t)
	other := wire.NewPeer(t)
	hardware := veth6(t, other)
	listen(t, "tcp6", netip.AddrPortFrom(wire.Server6, wire.ServerPort).String())
	k := startProbe(t, testConfig(func(c *Config) { c.Drops = true }))
	var want uint64
	for name, chain := range behindExtensions() {
		t.Run(name, func(t *testing.T) {
			k.t = t
			spoilt := segment6(t, hardware, chain.first, chain.headers, wire.Segment(wire.OnlySYN))
			checksum := spoilt[len(spoilt)-4:] // before the urgent pointer
			binary.BigEndian.PutUint16(checksum, ^binary.BigEndian.Uint16(checksum))
			other.Send(t, "peer-server", spoilt)
			want++
			k.until("drop", func() bool { return k.count(wire.ServerPort, connection.Drops, "tcp_csum") == want })
		})
	}
}

func TestSockRefusedBehindIPv6Extensions(t *testing.T) {
	enterNetNS(t)
	other := wire.NewPeer(t)
	hardware := veth6(t, other)
	k := startProbe(t, testConfig(), refusedByReset)
	var want []flow.Flow
	for name, chain := range behindExtensions() {
		t.Run(name, func(t *testing.T) {
			k.t = t
			to := flow.Flow{
				Client: netip.AddrPortFrom(wire.Client6, wire.ClientPort+uint16(len(want))),
				Server: netip.AddrPortFrom(wire.Server6, 9),
			}
			want = append(want, to)
			other.Send(t, "peer-server", segment6(t, hardware, chain.first, chain.headers,
				wire.Segment(wire.OnlySYN, func(tcp *layers.TCP) { tcp.SrcPort, tcp.DstPort = layers.TCPPort(to.Client.Port()), 9 })))
			k.until("refused", func() bool { return len(k.failed) == len(want) })
			assert.Equal(t, to, k.failed[len(k.failed)-1].Flow)
			assert.Equal(t, connection.FailureRefused, k.failed[len(k.failed)-1].Type)
		})
	}
}

func TestSockOverflowsBehindIPv6Extensions(t *testing.T) {
	cfg := testConfig(func(c *Config) { c.Overflows = true })
	// Kernels without fentry and kprobes have no way.
	eachWay(t, cfg, []string{hook.FeatureOverflowSYN, hook.FeatureOverflowACK, hook.FeatureOverflowACK6}, func(t *testing.T, k *kernel) {
		other := wire.NewPeer(t)
		hardware := veth6(t, other)
		server := netip.AddrPortFrom(wire.Server6, wire.ServerPort)
		listenBacklog(t, server.String(), 1)
		for range 2 { // the queue holds one more than its limit
			client, err := net.Dial("tcp", server.String())
			require.NoError(t, err)
			defer client.Close()
		}
		var want []netip.AddrPort
		for _, chain := range behindExtensions() {
			client := netip.AddrPortFrom(wire.Client6, wire.ClientPort+uint16(len(want)))
			want = append(want, client)
			other.Send(t, "peer-server", segment6(t, hardware, chain.first, chain.headers,
				wire.Segment(wire.OnlySYN, func(tcp *layers.TCP) { tcp.SrcPort = layers.TCPPort(client.Port()) })))
		}
		k.until("overflows", func() bool { return len(k.failed) == len(want) })
		var got []netip.AddrPort
		for _, failed := range k.failed {
			assert.Equal(t, connection.FailureAcceptQueueOverflow, failed.Type)
			assert.Equal(t, server, failed.Server)
			got = append(got, failed.Client)
		}
		assert.ElementsMatch(t, want, got)
	})
}
