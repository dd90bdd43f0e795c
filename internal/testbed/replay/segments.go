// SPDX-License-Identifier: Apache-2.0

//go:build linux

package replay

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
)

// Segment is what a frame has of TCP.
type Segment struct {
	From, To netip.AddrPort
	Seq, Ack uint32
	SYN, ACK bool
	FIN, RST bool
	Payload  []byte
}

// Segments are those of a capture, in its order.
func (c *Capture) Segments() []Segment {
	var all []Segment
	for _, f := range c.Frames {
		if f.TCP == nil {
			continue
		}
		all = append(all, Segment{
			From: f.From, To: f.To, Seq: f.TCP.Seq, Ack: f.TCP.Ack, SYN: f.TCP.SYN, ACK: f.TCP.ACK, FIN: f.TCP.FIN, RST: f.TCP.RST,
			Payload: f.TCP.Payload,
		})
	}
	return all
}

// end is the number behind a segment.
func (s *Segment) end() uint32 { return s.Seq + uint32(len(s.Payload)) }

// follows reports whether a segment is the next of the same direction.
func (s *Segment) follows(before *Segment) bool {
	return s.From == before.From && s.To == before.To && s.Seq == before.end() && len(s.Payload) > 0 && len(before.Payload) > 0 &&
		!before.FIN && !before.RST && !s.SYN && !before.SYN
}

// Split cuts payloads into segments of at most so many bytes.
func Split(all []Segment, most int) []Segment {
	var cut []Segment
	for _, s := range all {
		for len(s.Payload) > most {
			piece := s
			piece.Payload, piece.FIN = s.Payload[:most], false
			cut = append(cut, piece)
			s.Payload, s.Seq = s.Payload[most:], s.Seq+uint32(most)
		}
		cut = append(cut, s)
	}
	return cut
}

// Merge joins neighbours that follow each other to segments of at most so many bytes, as
// devices do.
func Merge(all []Segment, most int) []Segment {
	var merged []Segment
	for _, s := range all {
		if n := len(merged); n > 0 && s.follows(&merged[n-1]) && len(merged[n-1].Payload)+len(s.Payload) <= most {
			last := &merged[n-1]
			last.Payload = append(bytes.Clone(last.Payload), s.Payload...)
			last.Ack, last.FIN = s.Ack, s.FIN
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// Swap changes the order of each two neighbours that follow each other.
func Swap(all []Segment) []Segment {
	swapped := slices.Clone(all)
	for i := 1; i < len(swapped); i++ {
		if swapped[i].follows(&swapped[i-1]) && !swapped[i].FIN {
			swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
			i++
		}
	}
	return swapped
}

// Twice sends each segment with data twice, the second time behind the next segment.
func Twice(all []Segment) []Segment {
	var twice []Segment
	for i, s := range all {
		twice = append(twice, s)
		if i > 0 && len(all[i-1].Payload) > 0 {
			twice = append(twice, all[i-1])
		}
	}
	return twice
}

// Style is what frames look like.
type Style struct{ Ethernet, VLAN, IPv6 bool }

// End is what an end is called in frames of a style.
func (y Style) End(end netip.AddrPort) netip.AddrPort {
	if !y.IPv6 || !end.Addr().Is4() {
		return end
	}
	address := netip.MustParseAddr("2001:db8::").As16()
	four := end.Addr().As4()
	copy(address[12:], four[:])
	return netip.AddrPortFrom(netip.AddrFrom16(address), end.Port())
}

// Build makes a capture of segments. Checksums are 0, since nothing looks at them.
func (y Style) Build(all []Segment) *Capture {
	c := &Capture{Ethernet: y.Ethernet, Servers: map[netip.AddrPort]bool{}}
	for _, s := range all {
		s.From, s.To = y.End(s.From), y.End(s.To)
		c.Frames = append(c.Frames, c.frame(y.frame(&s)))
	}
	c.findServers()
	return c
}

func (y Style) frame(s *Segment) []byte {
	var frame []byte
	kind := uint16(0x0800)
	if s.From.Addr().Is6() {
		kind = 0x86dd
	}
	if y.Ethernet {
		frame = append(frame, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2)
		if y.VLAN {
			frame = append(frame, 0x81, 0, 0, 7)
		}
		frame = binary.BigEndian.AppendUint16(frame, kind)
	}
	const header = 20
	from, to := s.From.Addr().AsSlice(), s.To.Addr().AsSlice()
	length := uint16(header + len(s.Payload))
	if kind == 0x0800 {
		frame = append(frame, 0x45, 0)
		frame = binary.BigEndian.AppendUint16(frame, length+20)
		frame = append(frame, 0, 0, 0x40, 0, 64, 6, 0, 0)
	} else {
		frame = append(frame, 0x60, 0, 0, 0)
		frame = binary.BigEndian.AppendUint16(frame, length)
		frame = append(frame, 6, 64)
	}
	frame = append(append(frame, from...), to...)
	frame = binary.BigEndian.AppendUint16(frame, s.From.Port())
	frame = binary.BigEndian.AppendUint16(frame, s.To.Port())
	frame = binary.BigEndian.AppendUint32(frame, s.Seq)
	frame = binary.BigEndian.AppendUint32(frame, s.Ack)
	flags := byte(0)
	for bit, set := range map[byte]bool{1: s.FIN, 2: s.SYN, 4: s.RST, 16: s.ACK} {
		if set {
			flags |= bit
		}
	}
	frame = append(frame, header/4<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	return append(frame, s.Payload...)
}
