// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package packets

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// Decoder turns records of packets into facts. The fact is its own and reused.
type Decoder struct {
	*record.Context

	packet packet.Packet
}

// Decode decodes one record of the ring buffer. It returns false for a record that is not
// about a packet.
func (d *Decoder) Decode(kind shared.RecordKind, sample []byte) bool {
	if kind != shared.RecordKindPacket {
		return false
	}
	record.Take(d.Context, sample, ledger.Packet, d.selected)
	return true
}

func (d *Decoder) selected(r *shared.PacketRecord) {
	d.packet = packet.Packet{
		Flow:           record.Flow(&r.Flow),
		Time:           d.Clock.Unix(r.Head.Time),
		NetNS:          r.Head.Netns,
		Interface:      d.InterfaceName(r.Head.Netns, r.Ifindex),
		Egress:         r.Egress != 0,
		Flags:          packet.Flags(r.Flags),
		Length:         r.Length,
		Payload:        r.Payload,
		Sequence:       r.Sequence,
		Acknowledgment: r.Acknowledgment,
		Window:         r.Window,
		Options:        r.Options[:min(int(r.OptionsLen), len(r.Options))],
		Malformed:      packet.Malformed(r.Malformed),
	}
	d.Sink.PacketSelected(&d.packet)
}
