// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package wire

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// Ports of frames, unless changed.
const (
	ServerPort = 8080
	ClientPort = 40000
)

// Addresses of frames, unless changed.
var (
	Server4 = netip.MustParseAddr("192.0.2.1")
	Client4 = netip.MustParseAddr("198.51.100.7")
	Server6 = netip.MustParseAddr("2001:db8::1")
	Client6 = netip.MustParseAddr("2001:db8:ffff::7")
)

// Ethernet is a header without addresses.
func Ethernet(kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: kind}
}

// VLAN is a tag.
func VLAN(id uint16, kind layers.EthernetType) *layers.Dot1Q {
	return &layers.Dot1Q{VLANIdentifier: id, Type: kind}
}

// IPv4 is a header from the client to the server.
func IPv4(change ...func(*layers.IPv4)) *layers.IPv4 {
	ip := &layers.IPv4{
		Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP,
		SrcIP: Client4.AsSlice(), DstIP: Server4.AsSlice(),
	}
	for _, f := range change {
		f(ip)
	}
	return ip
}

// IPv6 is a header from the client to the server.
func IPv6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{
		Version: 6, HopLimit: 64, NextHeader: next,
		SrcIP: Client6.AsSlice(), DstIP: Server6.AsSlice(),
	}
}

// Segment is inbound data by default.
func Segment(change ...func(*layers.TCP)) *layers.TCP {
	tcp := &layers.TCP{
		SrcPort: ClientPort, DstPort: ServerPort,
		Seq: 0x01020304, Ack: 0x05060708, Window: 0x1234, ACK: true,
	}
	for _, f := range change {
		f(tcp)
	}
	return tcp
}

// OnlySYN makes a segment the first of a connection.
func OnlySYN(tcp *layers.TCP) { tcp.SYN, tcp.ACK, tcp.Ack = true, false, 0 }

// Build serializes layers with right lengths and checksums.
func Build(t testing.TB, stack ...gopacket.SerializableLayer) []byte {
	t.Helper()
	var network gopacket.NetworkLayer
	for _, layer := range stack {
		switch l := layer.(type) {
		case *layers.IPv4:
			network = l
		case *layers.IPv6:
			network = l
		case *layers.TCP:
			if network != nil {
				require.NoError(t, l.SetNetworkLayerForChecksum(network))
			}
		}
	}
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	require.NoError(t, gopacket.SerializeLayers(buffer, options, stack...))
	return buffer.Bytes()
}

// Payload is that many bytes.
func Payload(n int) gopacket.Payload { return make([]byte, n) }

// Ordinary is an Ethernet frame with 100 bytes of inbound data.
func Ordinary(t testing.TB, change ...func(*layers.TCP)) []byte {
	t.Helper()
	return Build(t, Ethernet(layers.EthernetTypeIPv4), IPv4(), Segment(change...), Payload(100))
}

// Extension is an IPv6 extension header of 8 × (1 + more) bytes.
func Extension(next layers.IPProtocol, more int) gopacket.Payload {
	header := make([]byte, 8*(1+more))
	header[0], header[1] = byte(next), byte(more)
	header[2], header[3] = 1, byte(len(header)-4) // PadN
	return header
}

// FragmentHeader is that of a fragment.
func FragmentHeader(next layers.IPProtocol, offset uint16, more bool) gopacket.Payload {
	header := make([]byte, 8)
	header[0] = byte(next)
	field := offset << 3
	if more {
		field |= 1
	}
	binary.BigEndian.PutUint16(header[2:], field)
	return header
}
