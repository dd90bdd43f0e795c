// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"bytes"
	"errors"
	"net/netip"
	"unsafe"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/clock"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// view reads a record in place; nil when the sample is too short. The kernel aligns
// records to 8 bytes, and so does the buffer they are copied to.
func view[T any](sample []byte) *T {
	var t T
	if uintptr(len(sample)) < unsafe.Sizeof(t) {
		return nil
	}
	return (*T)(unsafe.Pointer(unsafe.SliceData(sample)))
}

// decoder turns records into domain facts. The facts are its own and reused, so a
// record costs no allocation.
type decoder struct {
	handler   fact.Sink
	clock     clock.Clock
	names     interfaceNames
	listeners *listeners
	// backlogless are those of them that asked for a backlog of 0.
	backlogless *backlogless
	// ownNetNS is the namespace whose interface names are in names.
	ownNetNS uint32
	// unbound are listeners whose port the kernel had not chosen yet, by socket. They
	// are told of when they have one.
	unbound map[uint64]shared.ListenRecord
	// maxListeners bounds the listeners that are told apart here.
	maxListeners int
	// selectedPorts has a 1 for each port that is asked for; nil means all.
	selectedPorts *[65536]uint8
	// overflowsCounted: hooks count the overflows of accept queues.
	overflowsCounted bool
	// overflowing counts them where no hooks do; nil when nobody asks.
	overflowing *namespaceOverflows
	// absent are the counters that this kernel does not give.
	absent connection.Absent
	// otherNames knows those of other namespaces that packets are looked at in; nil
	// where there are none.
	otherNames func(netns, index uint32) string

	opened   connection.Opened
	closed   connection.Closed
	failed   connection.Failed
	live     connection.Live
	packet   packet.Packet
	sighting owner.Sighting
	listener connection.Listener
}

// ring decodes one record of the ring buffer.
func (d *decoder) ring(sample []byte) {
	head := view[shared.RecordHead](sample)
	if head == nil {
		d.handler.FactsLost(ledger.Connection, ledger.Undecodable, 1)
		return
	}
	switch shared.RecordKind(head.Kind) {
	case shared.RecordKindClose:
		decode(d, sample, ledger.Connection, d.close)
	case shared.RecordKindOpen:
		decode(d, sample, ledger.Open, d.open)
	case shared.RecordKindFailed:
		decode(d, sample, ledger.Failed, d.fail)
	case shared.RecordKindPacket:
		decode(d, sample, ledger.Packet, d.selected)
	case shared.RecordKindProcess:
		decode(d, sample, ledger.Process, d.process)
	case shared.RecordKindListen:
		decode(d, sample, ledger.Listener, d.listen)
	case shared.RecordKindUnlisten:
		decode(d, sample, ledger.Listener, d.unlisten)
	default:
		d.handler.FactsLost(ledger.Connection, ledger.Undecodable, 1)
	}
}

func decode[T any](d *decoder, sample []byte, event ledger.Event, hand func(*T)) {
	record := view[T](sample)
	if record == nil {
		d.handler.FactsLost(event, ledger.Undecodable, 1)
		return
	}
	hand(record)
}

func (d *decoder) open(r *shared.OpenRecord) {
	d.connection(&d.opened.Connection, &r.Connection)
	d.handler.ConnectionOpened(&d.opened)
}

func (d *decoder) close(r *shared.CloseRecord) {
	d.connection(&d.closed.Connection, &r.Connection)
	counters(&d.closed.Counters, &r.Counters)
	d.closed.Time = d.clock.Unix(r.Head.Time)
	d.closed.Reason = connection.CloseReason(r.Reason)
	d.handler.ConnectionClosed(&d.closed)
}

func (d *decoder) fail(r *shared.FailedRecord) {
	d.failed = connection.Failed{
		Flow:      flowOf(&r.Flow),
		Time:      d.clock.Unix(r.Head.Time),
		NetNS:     r.Head.Netns,
		Interface: d.interfaceName(r.Head.Netns, r.Ifindex),
		Type:      connection.Failure(r.Failure),
	}
	d.handler.ConnectionFailed(&d.failed)
}

func (d *decoder) selected(r *shared.PacketRecord) {
	d.packet = packet.Packet{
		Flow:           flowOf(&r.Flow),
		Time:           d.clock.Unix(r.Head.Time),
		NetNS:          r.Head.Netns,
		Interface:      d.interfaceName(r.Head.Netns, r.Ifindex),
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
	d.handler.PacketSelected(&d.packet)
}

func (d *decoder) process(r *shared.ProcessRecord) {
	d.sighting = owner.Sighting{
		Key:        owner.Key{Start: r.Key.Start, PID: r.Key.Pid},
		Executable: cString(&r.Executable),
		Comm:       cString(&r.Comm),
		Cgroup:     r.Cgroup,
	}
	d.handler.ProcessSeen(&d.sighting)
}

func (d *decoder) listen(r *shared.ListenRecord) {
	if d.overflowing != nil {
		d.overflowing.listen(r, d.selects(r.Port))
	}
	if r.Port == 0 {
		d.waitForPort(r)
		return
	}
	delete(d.unbound, r.Sk)
	d.listener = connection.Listener{
		Socket:  r.Sk,
		NetNS:   r.Head.Netns,
		Address: netip.AddrPortFrom(netip.AddrFrom16(r.Address).Unmap(), r.Port),
		Owner:   ref(&r.Owner),
	}
	// A scan meets a socket once per descriptor: it is missing in the map once.
	_, known := d.listeners.sockets[r.Sk]
	key := shared.PortKey{Netns: r.Head.Netns, Port: uint32(r.Port)}
	followed := shared.Followed(r.Followed)
	// A namespace beyond its share takes no room in the tables of user space either.
	if !known && followed == shared.FollowedNotShare {
		d.handler.FactsLost(ledger.Listener, ledger.MapShare, 1)
		return
	}
	if !known && len(d.listeners.sockets) >= d.maxListeners {
		d.handler.FactsLost(ledger.Listener, ledger.TableFull, 1)
		return
	}
	err := errors.Join(d.listeners.opened(r.Sk, key), d.backlogless.opened(r))
	if err != nil || (!known && followed == shared.FollowedNot) {
		d.handler.FactsLost(ledger.Listener, ledger.MapFull, 1)
	}
	d.handler.ListenerOpened(&d.listener)
}

// waitForPort keeps a listener until its port is known. What the kernel does not follow
// is never asked for it.
func (d *decoder) waitForPort(r *shared.ListenRecord) {
	_, waits := d.unbound[r.Sk]
	switch {
	case waits:
	case shared.Followed(r.Followed) == shared.FollowedNotShare:
		d.handler.FactsLost(ledger.Listener, ledger.MapShare, 1)
		return
	case shared.Followed(r.Followed) == shared.FollowedNot:
		d.handler.FactsLost(ledger.Listener, ledger.MapFull, 1)
		return
	}
	d.unbound[r.Sk] = *r
}

// unlisten may hear of a listener that is not known, as the record of its beginning was lost.
func (d *decoder) unlisten(r *shared.ListenRecord) {
	if opened, waits := d.unbound[r.Sk]; waits {
		delete(d.unbound, r.Sk)
		// Without a port listen() failed.
		if opened.Port = r.Port; r.Port != 0 {
			d.listen(&opened)
		}
	}
	overflows := r.Overflows
	if !d.overflowsCounted {
		overflows = 0
		if d.overflowing != nil {
			overflows = d.overflowing.ended(r.Sk)
		}
	}
	if _, known := d.listeners.sockets[r.Sk]; !known {
		return
	}
	if err := errors.Join(d.listeners.closed(r.Sk), d.backlogless.closed(r.Sk)); err != nil {
		d.handler.FactsLost(ledger.Listener, ledger.MapFull, 1)
	}
	if !d.selects(r.Port) {
		overflows = 0
	}
	d.handler.ListenerClosed(r.Sk, overflows)
}

func (d *decoder) lookedAt(r *shared.LiveRecord) *connection.Live {
	d.connection(&d.live.Connection, &r.Connection)
	d.live.ReceivedBytes, d.live.TransmittedBytes = r.Look.RxBytes, r.Look.TxBytes
	// What was read of a socket that is another's now says nothing.
	if d.live.Unread = !came(r.Look.Outcome, shared.LookOutcomeRead); d.live.Unread {
		d.live.ReceivedBytes, d.live.TransmittedBytes = 0, 0
	}
	return &d.live
}

// connection sets every field: a composite literal would be made elsewhere and copied,
// a third more for all of the decoding.
func (d *decoder) connection(to *connection.Connection, r *shared.Connection) {
	flags := shared.ConnectionFlag(r.Flags)
	to.ID = r.Id
	to.Flow = flowOf(&r.Flow)
	to.NetNS = r.Netns
	to.Interface = d.interfaceName(r.Netns, r.Ifindex)
	to.Owner = ref(&r.Owner)
	to.Opened = d.clock.Unix(r.Opened)
	to.Accept = 0
	// Since when an adopted one waited is not known.
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

func (d *decoder) interfaceName(netns, index uint32) string {
	switch {
	case index == 0:
		return ""
	case netns == d.ownNetNS:
		return d.names.name(index)
	case d.otherNames != nil:
		return d.otherNames(netns, index)
	default:
		return ""
	}
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

func flowOf(r *shared.Flow) flow.Flow {
	return flow.Flow{
		Client: netip.AddrPortFrom(netip.AddrFrom16(r.Remote).Unmap(), r.RemotePort),
		Server: netip.AddrPortFrom(netip.AddrFrom16(r.Local).Unmap(), r.LocalPort),
	}
}

func ref(r *shared.Owner) owner.Ref {
	return owner.Ref{Key: owner.Key{Start: r.Process.Start, PID: r.Process.Pid}, Source: owner.Source(r.Source)}
}

// cString reads a NUL-terminated name.
func cString[T [16]int8 | [64]int8](name *T) string {
	raw := unsafe.Slice((*byte)(unsafe.Pointer(name)), unsafe.Sizeof(*name))
	if end := bytes.IndexByte(raw, 0); end >= 0 {
		raw = raw[:end]
	}
	return string(raw)
}
