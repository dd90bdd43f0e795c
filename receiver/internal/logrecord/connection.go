// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// Opened appends a record of an established connection and reports whether it did.
// The process may be nil.
func (l *Logs) Opened(c *connection.Opened, p *owner.Process, source owner.Source) bool {
	if !l.events.TCPServerConnectionOpen.Enabled {
		return false
	}
	record, ok := l.add(l.resources.Origin(container(p), c.NetNS), header{
		event: declared.EventOpen, time: c.Opened, account: ledger.Open,
	})
	if !ok {
		return false
	}
	line, at := l.begin(declared.EventOpen, &c.Flow)
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
	record, ok := l.add(l.resources.Origin(container(p), c.NetNS), header{
		event: declared.EventClose, time: c.Time, failed: !c.Reason.Orderly(), account: ledger.Connection,
	})
	if !ok {
		return false
	}
	reason := c.Reason.String()
	line, at := l.begin(declared.EventClose, &c.Flow)
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
		return declared.ErrorOther
	default:
		return reason.String()
	}
}
