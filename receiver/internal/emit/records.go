// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
)

// Opened appends a record of an established connection and reports whether it did.
// The process may be nil.
func (l *Logs) Opened(c *connection.Opened, p *owner.Process, source owner.Source) bool {
	if !l.events.TCPServerConnectionOpen.Enabled {
		return false
	}
	record, ok := l.add(l.resources.origin(container(p), c.NetNS), header{
		event: eventOpen, time: c.Opened, account: ledger.Open,
	})
	if !ok {
		return false
	}
	line, at := l.begin(eventOpen, &c.Flow)
	body := l.body(record, l.appendProcess(line, p))

	row := &l.row
	putFlow(row, &c.Flow, at, body, c.Interface)
	l.putOwner(row, p, source)
	l.putConnection(row, &c.Connection)
	l.finish(record)
	return true
}

// Closed appends a record of a connection that ended and reports whether it did. The
// process may be nil.
func (l *Logs) Closed(c *connection.Closed, p *owner.Process, source owner.Source) bool {
	if !l.events.TCPServerConnectionClose.Enabled {
		return false
	}
	record, ok := l.add(l.resources.origin(container(p), c.NetNS), header{
		event: eventClose, time: c.Time, failed: !c.Reason.Orderly(), account: ledger.Connection,
	})
	if !ok {
		return false
	}
	reason := c.Reason.String()
	line, at := l.begin(eventClose, &c.Flow)
	line = append(append(l.appendProcess(line, p), ' '), reason...)
	line = appendDuration(append(line, ' '), c.Duration())
	if !c.Absent.Has(connection.AbsentReceivedBytes) {
		line = appendBytes(line, "rx", c.ReceivedBytes)
	}
	if !c.Absent.Has(connection.AbsentTransmittedBytes) {
		line = appendBytes(line, "tx", c.TransmittedBytes)
	}
	body := l.body(record, line)

	row := &l.row
	putFlow(row, &c.Flow, at, body, c.Interface)
	l.putOwner(row, p, source)
	l.putConnection(row, &c.Connection)
	putCounters(row, &c.Counters, c.Absent)
	row.double(attrDuration, seconds(c.Duration()))
	if c.Accept > 0 {
		row.double(attrAcceptDuration, seconds(c.Accept))
	}
	row.str(attrCloseReason, reason)
	if errorType := closeError(c.Reason); errorType != "" {
		row.str(attrErrorType, errorType)
	}
	l.finish(record)
	return true
}

// Failed appends a record of an attempt that came to nothing and reports whether it did.
func (l *Logs) Failed(f *connection.Failed) bool {
	if !l.events.TCPServerConnectionFailed.Enabled {
		return false
	}
	record, ok := l.add(l.resources.origin(owner.Container{}, f.NetNS), header{
		event: eventFailed, time: f.Time, failed: true, account: ledger.Failed,
	})
	if !ok {
		return false
	}
	errorType := f.Type.String()
	line, at := l.begin(eventFailed, &f.Flow)
	body := l.body(record, append(append(line, ' '), errorType...))

	row := &l.row
	putFlow(row, &f.Flow, at, body, f.Interface)
	row.int(attrNetNS, int64(f.NetNS))
	row.str(attrErrorType, errorType)
	l.finish(record)
	return true
}

// Packet appends a record of a selected packet and reports whether it did. The
// process may be nil.
func (l *Logs) Packet(p *packet.Packet, process *owner.Process, source owner.Source) bool {
	if !l.events.TCPServerPacket.Enabled {
		return false
	}
	malformed := p.Malformed.String()
	record, ok := l.add(l.resources.origin(container(process), p.NetNS), header{
		event: eventPacket, time: p.Time, failed: malformed != "", account: ledger.Packet,
	})
	if !ok {
		return false
	}
	flags := p.Flags.Names()
	line, at := l.begin(eventPacket, &p.Flow)
	body := l.body(record, appendPacket(line, p, flags, malformed))

	row := &l.row
	putFlow(row, &p.Flow, at, body, p.Interface)
	l.putOwner(row, process, source)
	row.str(attrIODirection, ioDirection(p.Egress))
	row.int(attrNetNS, int64(p.NetNS))
	row.int(attrSequence, int64(p.Sequence))
	row.int(attrAcknowledgment, int64(p.Acknowledgment))
	row.int(attrWindow, int64(p.Window))
	row.int(attrPacketSize, int64(p.Length))
	row.int(attrPayloadSize, int64(p.Payload))
	if malformed != "" {
		row.str(attrMalformed, malformed)
	}
	record.Attributes().EnsureCapacity(l.row.len() + 2) // what follows has room
	attributes := l.finish(record)
	names := attributes.PutEmptySlice(keyFlags)
	names.EnsureCapacity(len(flags))
	l.bytes += attributeBytes * (2 + len(flags))
	for _, name := range flags {
		names.AppendEmpty().SetStr(name)
	}
	l.putOptions(attributes, p.Options)
	return true
}

func (l *Logs) putOptions(attributes pcommon.Map, raw []byte) {
	if len(raw) == 0 {
		return
	}
	options := attributes.PutEmptySlice(keyOptions)
	for option := range packet.Options(raw) {
		written := option.AppendText(l.line[:0])
		options.AppendEmpty().SetStr(l.text.add(written))
		l.bytes += len(written) + attributeBytes
	}
}

// endpoints are where the two addresses are within a body.
type endpoints struct{ client, server span }

// begin writes what all bodies begin with.
func (l *Logs) begin(event string, flow *connection.Flow) ([]byte, endpoints) {
	var at endpoints
	line := append(append(l.line[:0], event...), ' ')
	line, at.client = appendEndpoint(line, flow.Client)
	line, at.server = appendEndpoint(append(line, " -> "...), flow.Server)
	return line, at
}

func (l *Logs) appendProcess(line []byte, p *owner.Process) []byte {
	if p == nil || p.PID == 0 {
		return line
	}
	name := l.executable(p)
	if name == "" {
		name = "?"
	}
	line = append(append(append(line, ' '), name...), '[')
	return append(strconv.AppendUint(line, uint64(p.PID), 10), ']')
}

func appendPacket(line []byte, p *packet.Packet, flags []string, malformed string) []byte {
	line = append(append(line, ' '), ioDirection(p.Egress)...)
	for i, name := range flags {
		separator := byte('|')
		if i == 0 {
			separator = ' '
		}
		line = append(append(line, separator), name...)
	}
	line = appendBytes(line, "payload", uint64(p.Payload))
	if malformed != "" {
		line = append(append(line, " malformed="...), malformed...)
	}
	return line
}

func putFlow(row *row, flow *connection.Flow, at endpoints, body, name string) {
	if flow.Client.IsValid() {
		row.str(attrClientAddress, at.client.of(body))
		row.int(attrClientPort, int64(flow.Client.Port()))
	}
	if flow.Server.IsValid() {
		row.str(attrServerAddress, at.server.of(body))
		row.int(attrServerPort, int64(flow.Server.Port()))
		row.str(attrNetworkType, networkType(flow.IPv4()))
	}
	row.str(attrTransport, transportTCP)
	if name != "" {
		row.str(attrInterface, clean.String(name))
	}
}

func (l *Logs) putOwner(row *row, p *owner.Process, source owner.Source) {
	if p == nil {
		return
	}
	// Without attribution::process only the container is known.
	if p.PID != 0 {
		row.int(attrPID, int64(p.PID))
	}
	if name := l.executable(p); name != "" {
		row.str(attrExecutable, name)
	}
	if name := source.String(); name != "" {
		row.str(attrOwnerSource, name)
	}
}

func (l *Logs) putConnection(row *row, c *connection.Connection) {
	row.str(attrConnectionID, l.connectionID(c.ID))
	row.int(attrNetNS, int64(c.NetNS))
	putMicroseconds(row, attrHandshakeDuration, c.Handshake)
	putMicroseconds(row, attrHandshakeRTT, c.HandshakeRTT)
	if c.Adopted {
		row.yes(attrAdopted)
	}
	if c.MPTCP {
		row.yes(attrMPTCP)
	}
}

func putCounters(row *row, c *connection.Counters, absent connection.Absent) {
	put := func(a attribute, counter connection.Absent, value int64) {
		if !absent.Has(counter) {
			row.int(a, value)
		}
	}
	put(attrReceivedSize, connection.AbsentReceivedBytes, int64(c.ReceivedBytes))
	put(attrTransmitSize, connection.AbsentTransmittedBytes, int64(c.TransmittedBytes))
	put(attrReceivedSegments, connection.AbsentReceivedSegments, int64(c.ReceivedSegments))
	put(attrTransmitSegments, connection.AbsentTransmittedSegments, int64(c.TransmittedSegments))
	put(attrRetransmits, connection.AbsentRetransmits, int64(c.Retransmits))
	put(attrOutOfOrder, connection.AbsentOutOfOrder, int64(c.OutOfOrder))
	putMicroseconds(row, attrSmoothedRTT, c.SmoothedRTT)
	putMicroseconds(row, attrMinRTT, c.MinRTT)
}

// putMicroseconds writes seconds, and nothing for 0, which means not measured.
func putMicroseconds(row *row, a attribute, microseconds uint32) {
	if microseconds > 0 {
		row.double(a, float64(microseconds)/1e6)
	}
}

// closeError is error.type of a connection that did not end with FINs, else "".
func closeError(reason connection.CloseReason) string {
	switch {
	case reason.Orderly():
		return ""
	case reason == connection.CloseUnknown:
		return errorOther
	default:
		return reason.String()
	}
}

func container(p *owner.Process) owner.Container {
	if p == nil || p.Workload == nil {
		return owner.Container{}
	}
	return p.Container
}

// executable is its clean name. Most records are of the same few workloads, which are
// one pointer each.
func (l *Logs) executable(p *owner.Process) string {
	switch p.Workload {
	case nil:
		return ""
	case l.lastWorkload:
	default:
		l.lastWorkload, l.lastExecutable = p.Workload, clean.String(p.Executable)
	}
	return l.lastExecutable
}

func seconds(nanoseconds int64) float64 { return float64(nanoseconds) / 1e9 }
