// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package replay puts the frames of a capture on an interface, where packet programs see them as
// they see those of a server: what the client sent arrives, what the server sent leaves.
package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Capture is what was captured, in its order.
type Capture struct {
	// Ethernet is set if the frames have such headers. Else they are bare IP packets.
	Ethernet bool
	Frames   []Frame
	// Servers are the ends that connections were opened to.
	Servers map[netip.AddrPort]bool
}

// Frame is one of a capture.
type Frame struct {
	Data []byte
	// From, To and TCP are zero if the frame is no TCP segment.
	From, To netip.AddrPort
	TCP      *layers.TCP
}

// Other sizes of headers before an IP packet, by link type. All these tell the version of IP
// by its first byte.
var bare = map[layers.LinkType]int{
	layers.LinkTypeNull: 4, layers.LinkTypeLoop: 4, layers.LinkTypeLinuxSLL: 16, 276: 20,
	layers.LinkTypeRaw: 0, 12: 0, 14: 0, layers.LinkTypeIPv4: 0, layers.LinkTypeIPv6: 0,
}

// Read reads a capture in the format pcap or pcapng.
func Read(path string) (*Capture, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a capture: %w", err)
	}
	var reader interface {
		ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
		LinkType() layers.LinkType
	}
	if reader, err = pcapgo.NewReader(bytes.NewReader(raw)); err != nil {
		reader, err = pcapgo.NewNgReader(bytes.NewReader(raw), pcapgo.DefaultNgReaderOptions)
	}
	if err != nil {
		return nil, fmt.Errorf("read the capture %s: %w", path, err)
	}
	c := &Capture{Ethernet: reader.LinkType() == layers.LinkTypeEthernet, Servers: map[netip.AddrPort]bool{}}
	strip, known := bare[reader.LinkType()]
	if !known && !c.Ethernet {
		return nil, fmt.Errorf("the capture %s has the link type %d, which is not known", path, reader.LinkType())
	}
	for {
		data, _, err := reader.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the capture %s: %w", path, err)
		}
		if len(data) > strip {
			c.Frames = append(c.Frames, c.frame(bytes.Clone(data[strip:])))
		}
	}
	c.findServers()
	return c, nil
}

// frame finds the ends of a segment.
func (c *Capture) frame(data []byte) Frame {
	first := gopacket.Decoder(layers.LayerTypeEthernet)
	if !c.Ethernet {
		if first = layers.LayerTypeIPv4; data[0]>>4 == 6 {
			first = layers.LayerTypeIPv6
		}
	}
	packet := gopacket.NewPacket(data, first, gopacket.DecodeOptions{NoCopy: true})
	f := Frame{Data: data}
	tcp, ok := packet.TransportLayer().(*layers.TCP)
	if !ok {
		return f
	}
	ends := packet.NetworkLayer().NetworkFlow()
	from, _ := netip.AddrFromSlice(ends.Src().Raw())
	to, _ := netip.AddrFromSlice(ends.Dst().Raw())
	f.TCP = tcp
	f.From, f.To = netip.AddrPortFrom(from, uint16(tcp.SrcPort)), netip.AddrPortFrom(to, uint16(tcp.DstPort))
	return f
}

// findServers looks for handshakes, and on connections without one for answers.
func (c *Capture) findServers() {
	opened := map[[2]netip.AddrPort]bool{}
	mark := func(server, client netip.AddrPort) {
		c.Servers[server] = true
		opened[[2]netip.AddrPort{server, client}] = true
	}
	for _, f := range c.Frames {
		switch {
		case f.TCP == nil || !f.TCP.SYN:
		case f.TCP.ACK:
			mark(f.From, f.To)
		default:
			mark(f.To, f.From)
		}
	}
	for _, f := range c.Frames {
		if f.TCP != nil && bytes.HasPrefix(f.TCP.Payload, []byte("HTTP/1.")) && !opened[[2]netip.AddrPort{f.To, f.From}] {
			c.Servers[f.From] = true
		}
	}
}

// Ports are those of the servers.
func (c *Capture) Ports() []uint16 {
	seen := map[uint16]bool{}
	var ports []uint16
	for server := range c.Servers {
		if !seen[server.Port()] {
			seen[server.Port()] = true
			ports = append(ports, server.Port())
		}
	}
	return ports
}
