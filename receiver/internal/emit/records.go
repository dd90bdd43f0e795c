// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
)

// How many attributes each record has at most.
const (
	openAttributes   = 15
	closeAttributes  = 27
	failedAttributes = 9
	packetAttributes = 20
)

// Opened appends a record of an established connection and reports whether it did.
// The process may be nil.
func (l *Logs) Opened(c *connection.Opened, p *owner.Process, source owner.Source) bool {
	if !l.events.TCPServerConnectionOpen.Enabled {
		return false
	}
	record, ok := l.add(container(p), header{
		event: eventOpen, time: c.Opened, attributes: openAttributes, account: ledger.Open,
	})
	if !ok {
		return false
	}
	line, at := l.begin(eventOpen, &c.Flow)
	body := l.body(record, appendProcess(line, p))

	attributes := record.Attributes()
	putFlow(attributes, &c.Flow, at, body, c.Interface)
	putOwner(attributes, p, source)
	putConnection(attributes, &c.Connection)
	return true
}

// Closed appends a record of a connection that ended and reports whether it did. The
// process may be nil.
func (l *Logs) Closed(c *connection.Closed, p *owner.Process, source owner.Source) bool {
	if !l.events.TCPServerConnectionClose.Enabled {
		return false
	}
	record, ok := l.add(container(p), header{
		event: eventClose, time: c.Time, failed: !c.Reason.Orderly(),
		attributes: closeAttributes, account: ledger.Connection,
	})
	if !ok {
		return false
	}
	reason := c.Reason.String()
	line, at := l.begin(eventClose, &c.Flow)
	line = append(append(appendProcess(line, p), ' '), reason...)
	line = appendDuration(append(line, ' '), c.Duration())
	line = appendBytes(line, "rx", c.ReceivedBytes)
	line = appendBytes(line, "tx", c.TransmittedBytes)
	body := l.body(record, line)

	attributes := record.Attributes()
	putFlow(attributes, &c.Flow, at, body, c.Interface)
	putOwner(attributes, p, source)
	putConnection(attributes, &c.Connection)
	putCounters(attributes, &c.Counters)
	attributes.PutDouble(keyDuration, seconds(c.Duration()))
	if c.Accept > 0 {
		attributes.PutDouble(keyAcceptDuration, seconds(c.Accept))
	}
	attributes.PutStr(keyCloseReason, reason)
	if errorType := closeError(c.Reason); errorType != "" {
		attributes.PutStr(keyErrorType, errorType)
	}
	return true
}

// Failed appends a record of an attempt that came to nothing and reports whether it did.
func (l *Logs) Failed(f *connection.Failed) bool {
	if !l.events.TCPServerConnectionFailed.Enabled {
		return false
	}
	record, ok := l.add(owner.Container{}, header{
		event: eventFailed, time: f.Time, failed: true,
		attributes: failedAttributes, account: ledger.Failed,
	})
	if !ok {
		return false
	}
	errorType := f.Type.String()
	line, at := l.begin(eventFailed, &f.Flow)
	body := l.body(record, append(append(line, ' '), errorType...))

	attributes := record.Attributes()
	putFlow(attributes, &f.Flow, at, body, f.Interface)
	attributes.PutInt(keyNetNS, int64(f.NetNS))
	attributes.PutStr(keyErrorType, errorType)
	return true
}

// Packet appends a record of a selected packet and reports whether it did. The
// process may be nil.
func (l *Logs) Packet(p *packet.Packet, process *owner.Process, source owner.Source) bool {
	if !l.events.TCPServerPacket.Enabled {
		return false
	}
	malformed := p.Malformed.String()
	record, ok := l.add(container(process), header{
		event: eventPacket, time: p.Time, failed: malformed != "",
		attributes: packetAttributes, account: ledger.Packet,
	})
	if !ok {
		return false
	}
	flags := p.Flags.Names()
	line, at := l.begin(eventPacket, &p.Flow)
	body := l.body(record, appendPacket(line, p, flags, malformed))

	attributes := record.Attributes()
	putFlow(attributes, &p.Flow, at, body, p.Interface)
	putOwner(attributes, process, source)
	attributes.PutStr(keyIODirection, ioDirection(p.Egress))
	attributes.PutInt(keyNetNS, int64(p.NetNS))
	attributes.PutInt(keySequence, int64(p.Sequence))
	attributes.PutInt(keyAcknowledgment, int64(p.Acknowledgment))
	attributes.PutInt(keyWindow, int64(p.Window))
	attributes.PutInt(keyPacketSize, int64(p.Length))
	attributes.PutInt(keyPayloadSize, int64(p.Payload))
	if malformed != "" {
		attributes.PutStr(keyMalformed, malformed)
	}
	names := attributes.PutEmptySlice(keyFlags)
	names.EnsureCapacity(len(flags))
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

func appendProcess(line []byte, p *owner.Process) []byte {
	if p == nil || p.PID == 0 {
		return line
	}
	name := executable(p)
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

func putFlow(attributes pcommon.Map, flow *connection.Flow, at endpoints, body, name string) {
	if flow.Client.IsValid() {
		attributes.PutStr(keyClientAddress, at.client.of(body))
		attributes.PutInt(keyClientPort, int64(flow.Client.Port()))
	}
	if flow.Server.IsValid() {
		attributes.PutStr(keyServerAddress, at.server.of(body))
		attributes.PutInt(keyServerPort, int64(flow.Server.Port()))
		attributes.PutStr(keyNetworkType, networkType(flow.IPv4()))
	}
	attributes.PutStr(keyTransport, transportTCP)
	if name != "" {
		attributes.PutStr(keyInterface, name)
	}
}

func putOwner(attributes pcommon.Map, p *owner.Process, source owner.Source) {
	if p == nil {
		return
	}
	// Without attribution::process only the container is known.
	if p.PID != 0 {
		attributes.PutInt(keyPID, int64(p.PID))
	}
	if name := executable(p); name != "" {
		attributes.PutStr(keyExecutable, name)
	}
	if name := source.String(); name != "" {
		attributes.PutStr(keyOwnerSource, name)
	}
}

func putConnection(attributes pcommon.Map, c *connection.Connection) {
	attributes.PutInt(keyConnectionID, int64(c.ID))
	attributes.PutInt(keyNetNS, int64(c.NetNS))
	putMicroseconds(attributes, keyHandshakeDuration, c.Handshake)
	putMicroseconds(attributes, keyHandshakeRTT, c.HandshakeRTT)
	if c.Adopted {
		attributes.PutBool(keyAdopted, true)
	}
	if c.MPTCP {
		attributes.PutBool(keyMPTCP, true)
	}
}

func putCounters(attributes pcommon.Map, c *connection.Counters) {
	attributes.PutInt(keyReceivedSize, int64(c.ReceivedBytes))
	attributes.PutInt(keyTransmitSize, int64(c.TransmittedBytes))
	attributes.PutInt(keyReceivedSegments, int64(c.ReceivedSegments))
	attributes.PutInt(keyTransmitSegments, int64(c.TransmittedSegments))
	attributes.PutInt(keyRetransmits, int64(c.Retransmits))
	attributes.PutInt(keyOutOfOrder, int64(c.OutOfOrder))
	putMicroseconds(attributes, keySmoothedRTT, c.SmoothedRTT)
	putMicroseconds(attributes, keyMinRTT, c.MinRTT)
}

// putMicroseconds writes seconds, and nothing for 0, which means not measured.
func putMicroseconds(attributes pcommon.Map, key string, microseconds uint32) {
	if microseconds > 0 {
		attributes.PutDouble(key, float64(microseconds)/1e6)
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

func executable(p *owner.Process) string {
	if p.Workload == nil {
		return ""
	}
	return p.Executable
}

func seconds(nanoseconds int64) float64 { return float64(nanoseconds) / 1e9 }
