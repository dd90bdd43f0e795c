// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package sockets

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/live"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/look"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// Decoder turns records into facts. The facts are its own and reused, so a record costs no
// allocation.
type Decoder struct {
	*record.Context
	// absent are the counters that this kernel lacks.
	absent    connection.Absent
	listeners listeners
	looks     *live.Looks

	opened   connection.Opened
	closed   connection.Closed
	failed   connection.Failed
	live     connection.Live
	sighting owner.Sighting
}

// listeners takes the records of listeners, which need more than decoding.
type listeners interface {
	Opened(*shared.ListenRecord)
	Ended(*shared.ListenRecord)
}

// NewDecoder decodes for a kernel that lacks some counters.
func NewDecoder(c *record.Context, absent connection.Absent, l listeners) *Decoder {
	return &Decoder{Context: c, absent: absent, listeners: l}
}

// Decode decodes one record of the ring buffer. It returns false for a record that is not
// about sockets.
func (d *Decoder) Decode(kind shared.RecordKind, sample []byte) bool {
	switch kind {
	case shared.RecordKindClose:
		record.Take(d.Context, sample, ledger.Connection, d.close)
	case shared.RecordKindOpen:
		record.Take(d.Context, sample, ledger.Open, d.open)
	case shared.RecordKindFailed:
		record.Take(d.Context, sample, ledger.Failed, d.fail)
	case shared.RecordKindProcess:
		record.Take(d.Context, sample, ledger.Process, d.process)
	case shared.RecordKindListen:
		record.Take(d.Context, sample, ledger.Listener, d.listeners.Opened)
	case shared.RecordKindUnlisten:
		record.Take(d.Context, sample, ledger.Listener, d.listeners.Ended)
	default:
		return false
	}
	return true
}

func (d *Decoder) open(r *shared.OpenRecord) {
	d.connection(&d.opened.Connection, &r.Connection)
	d.Sink.ConnectionOpened(&d.opened)
}

func (d *Decoder) close(r *shared.CloseRecord) {
	d.connection(&d.closed.Connection, &r.Connection)
	counters(&d.closed.Counters, &r.Counters)
	d.closed.Time = d.Clock.Unix(r.Head.Time)
	d.closed.Reason = connection.CloseReason(r.Reason)
	d.Sink.ConnectionClosed(&d.closed)
	d.looks.Closed(r)
}

// fail is for attempts that failed on sockets and, refused or half-open, on packets.
func (d *Decoder) fail(r *shared.FailedRecord) {
	d.failed = connection.Failed{
		Flow:      record.Flow(&r.Flow),
		Time:      d.Clock.Unix(r.Head.Time),
		NetNS:     r.Head.Netns,
		Interface: d.InterfaceName(r.Head.Netns, r.Ifindex),
		Type:      connection.Failure(r.Failure),
	}
	d.Sink.ConnectionFailed(&d.failed)
}

func (d *Decoder) process(r *shared.ProcessRecord) {
	d.sighting = owner.Sighting{
		Key:        owner.Key{Start: r.Key.Start, PID: r.Key.Pid},
		Executable: record.String(&r.Executable),
		Comm:       record.String(&r.Comm),
		Cgroup:     r.Cgroup,
	}
	d.Sink.ProcessSeen(&d.sighting)
}

// look converts one look at a live connection.
func (d *Decoder) look(r *shared.LiveRecord) *connection.Live {
	d.connection(&d.live.Connection, &r.Connection)
	d.live.ReceivedBytes, d.live.TransmittedBytes = r.Look.RxBytes, r.Look.TxBytes
	// The socket can belong to another connection by now. Its counters say nothing then.
	if d.live.Unread = !look.Came(r.Look.Outcome, shared.LookOutcomeRead); d.live.Unread {
		d.live.ReceivedBytes, d.live.TransmittedBytes = 0, 0
	}
	return &d.live
}

// connection sets every field. A composite literal would be made elsewhere and copied, which
// makes all decoding a third slower.
func (d *Decoder) connection(to *connection.Connection, r *shared.Connection) {
	flags := shared.ConnectionFlag(r.Flags)
	to.ID = r.Id
	to.Flow = record.Flow(&r.Flow)
	to.NetNS = r.Netns
	to.Interface = d.InterfaceName(r.Netns, r.Ifindex)
	to.Owner = record.Owner(&r.Owner)
	to.Opened = d.Clock.Unix(r.Opened)
	to.Accept = 0
	// How long an adopted one waited before it was found is not known.
	if r.Accepted > r.Opened && flags&shared.ConnectionFlagAdopted == 0 {
		to.Accept = int64(r.Accepted - r.Opened)
	}
	to.Handshake, to.HandshakeRTT = r.HandshakeUs, r.HandshakeUs
	if flags&shared.ConnectionFlagSynackRepeated != 0 {
		to.HandshakeRTT = 0
	}
	to.Adopted = flags&shared.ConnectionFlagAdopted != 0
	to.MPTCP = flags&shared.ConnectionFlagMptcp != 0
	to.Absent = d.absent
}

func counters(to *connection.Counters, r *shared.Counters) {
	*to = connection.Counters{
		ReceivedBytes:       r.RxBytes,
		TransmittedBytes:    r.TxBytes,
		ReceivedSegments:    r.RxSegments,
		TransmittedSegments: r.TxSegments,
		Retransmits:         r.Retransmits,
		OutOfOrder:          r.OutOfOrder,
		SmoothedRTT:         r.SrttUs,
		MinRTT:              r.MinRttUs,
	}
}
