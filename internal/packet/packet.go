// SPDX-License-Identifier: Apache-2.0

// Package packet has the domain of the packet vantage point: selected packets and
// counters per interface. It decodes TCP flags and options.
package packet

import "github.com/ebpftcp/ebpftcpreceiver/internal/flow"

// Packet is one selected segment.
type Packet struct {
	flow.Flow
	// Time is Unix nanoseconds.
	Time      int64
	NetNS     uint32
	Interface string
	// Egress is set for a segment that leaves the host.
	Egress bool
	Flags  Flags
	// Length is bytes on the wire with the link header; Payload is TCP payload.
	Length, Payload          uint32
	Sequence, Acknowledgment uint32
	// Window is as sent, not scaled.
	Window uint16
	// Options are the raw option bytes, at most 40. They are valid only during the
	// call of the sink.
	Options   []byte
	Malformed Malformed
}

// Class is the flag class of a segment. Its String is the value of
// tcp.packet.class.
type Class uint8

// Values match enum packet_class in bpf/lib/values.h.
const (
	SYN Class = iota
	SYNACK
	RST
	FIN
	Data
	ACK
	Abnormal
	Classes
)

func (c Class) String() string {
	switch c {
	case SYN:
		return "syn"
	case SYNACK:
		return "syn_ack"
	case RST:
		return "rst"
	case FIN:
		return "fin"
	case Data:
		return "data"
	case ACK:
		return "ack"
	case Abnormal:
		return "abnormal"
	default:
		return ""
	}
}

// Malformed says what is wrong with a header. Its String is the value of
// tcp.malformed.kind.
type Malformed uint8

// Values match enum malformed in bpf/lib/values.h.
const (
	WellFormed Malformed = iota
	IPTruncated
	IPHeader
	IPLength
	TCPTruncated
	TCPOffset
	TCPOptions
	TCPFlags
	TCPPort
	MalformedKinds
)

func (m Malformed) String() string {
	switch m {
	case IPTruncated:
		return "ip_truncated"
	case IPHeader:
		return "ip_header"
	case IPLength:
		return "ip_length"
	case TCPTruncated:
		return "tcp_truncated"
	case TCPOffset:
		return "tcp_offset"
	case TCPOptions:
		return "tcp_options"
	case TCPFlags:
		return "tcp_flags"
	case TCPPort:
		return "tcp_port"
	default:
		return ""
	}
}

// Interface is the count of one interface and direction since the probe attached.
type Interface struct {
	Name string
	// NetNS is the inode of the network namespace, 0 for the collector's own.
	NetNS uint32
	// Generation changes when the count begins again at 0.
	Generation uint32
	Egress     bool
	// Packets and Bytes are server-side traffic by Class.
	Packets, Bytes [Classes]uint64
	// Malformed counts by kind, whatever the destination.
	Malformed [MalformedKinds]uint64
	// Fragments are non-first fragments, which carry no ports.
	Fragments uint64
	// Forwarded packets have a listening port but not this host's address.
	Forwarded uint64
}

// Counted reports whether anything was counted.
func (i *Interface) Counted() bool {
	return i.Packets != [Classes]uint64{} || i.Malformed != [MalformedKinds]uint64{} ||
		i.Fragments != 0 || i.Forwarded != 0
}
