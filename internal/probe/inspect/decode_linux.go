// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package inspect

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Decoder turns records into segments.
type Decoder struct {
	context *record.Context
	// What was decoded last; reused.
	connection request.Connection
	segment    stream.Segment
}

// NewDecoder makes a decoder.
func NewDecoder(context *record.Context) *Decoder { return &Decoder{context: context} }

// Decode gives the segment of a record to a taker. It is valid as long as the sample.
func (d *Decoder) Decode(sample []byte, to Taker) {
	r := record.View[shared.SegmentRecord](sample)
	if r == nil || len(sample) < int(segmentHeader+r.Length) {
		d.context.Undecodable(ledger.Segment)
		return
	}
	d.connection = request.Connection{
		Flow:      record.Flow(&r.Flow),
		NetNS:     r.Head.Netns,
		Interface: d.context.InterfaceName(r.Head.Netns, r.Ifindex),
	}
	if r.Connection != 0 {
		d.connection.ID, d.connection.Owner = r.Connection, record.Owner(&r.Owner)
	}
	known := shared.SegmentKnown(r.Known)
	d.segment = stream.Segment{
		Direction:      stream.Direction(r.Egress),
		Sequence:       r.Sequence,
		Acknowledgment: r.Acknowledgment,
		Data:           sample[segmentHeader : segmentHeader+r.Length],
		Left:           r.Left,
		Skipped:        r.Sequence - r.Start,
		Time:           d.context.Clock.Unix(r.Head.Time),
		Begins:         known&shared.SegmentKnownBegins != 0,
		Joined:         known&shared.SegmentKnownJoined != 0,
		Frames:         known&shared.SegmentKnownFrames != 0,
		Number:         r.Number,
		More:           known&shared.SegmentKnownMore != 0,
		FIN:            r.Flags&flagFIN != 0 && r.Left == 0,
		RST:            r.Flags&flagRST != 0 && r.Left == 0,
		Retransmits:    -1,
	}
	if known&shared.SegmentKnownMonotonic != 0 {
		d.segment.Time = d.context.Clock.FromMonotonic(r.Head.Time)
	}
	if r.Acknowledged != 0 {
		d.segment.AcknowledgedTime = d.context.Clock.Unix(r.Acknowledged)
	}
	if d.segment.Begins {
		d.segment.First = r.First
	}
	if known&shared.SegmentKnownSocket != 0 {
		d.segment.Retransmits = int64(r.Retransmits)
	}
	to.Segment(&d.connection, &d.segment)
}

// Flags of the TCP header.
const (
	flagFIN = 0x01
	flagRST = 0x04
)
