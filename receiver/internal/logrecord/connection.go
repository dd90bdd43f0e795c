// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord/oneline"
)

// Opened appends a record of an established connection and reports whether it did.
// The process may be nil.
func (l *Logs) Opened(c *connection.Opened, p *owner.Process, source owner.Source) bool {
	if !l.enabled[declared.EventConnectionOpen] {
		return false
	}
	record, ok := l.add(l.resources.Origin(workload(p), c.NetNS), header{
		event: declared.EventConnectionOpen, time: c.Opened,
	})
	if !ok {
		return false
	}
	line, at := l.begin(declared.EventConnectionOpen, &c.Flow)
	body := l.body(record, l.appendProcess(line, p))

	row := &l.row
	putFlow(row, &c.Flow, at, body, c.Interface)
	l.putOwner(row, p, source)
	l.putConnection(row, &c.Connection)
	l.finish(record)
	return true
}

// Closed appends a record of a connection that ended, after a number of updates, and reports
// whether it did. The process may be nil.
func (l *Logs) Closed(c *connection.Closed, updates int, p *owner.Process, source owner.Source) bool {
	if !l.enabled[declared.EventConnectionClose] {
		return false
	}
	record, ok := l.add(l.resources.Origin(workload(p), c.NetNS), header{
		event: declared.EventConnectionClose, time: c.Time, failed: !c.Reason.Orderly(),
	})
	if !ok {
		return false
	}
	reason := c.Reason.String()
	line, at := l.begin(declared.EventConnectionClose, &c.Flow)
	line = append(append(l.appendProcess(line, p), ' '), reason...)
	line = oneline.Duration(append(line, ' '), c.Duration())
	if !c.Absent.Has(connection.AbsentReceivedBytes) {
		line = oneline.Bytes(line, "rx", c.ReceivedBytes)
	}
	if !c.Absent.Has(connection.AbsentTransmittedBytes) {
		line = oneline.Bytes(line, "tx", c.TransmittedBytes)
	}
	body := l.body(record, line)

	row := &l.row
	putFlow(row, &c.Flow, at, body, c.Interface)
	l.putOwner(row, p, source)
	l.putConnection(row, &c.Connection)
	putCounters(row, &c.Counters, c.Absent)
	row.double(declared.AttrConnectionDuration, seconds(c.Duration()))
	if c.Accept > 0 {
		row.double(declared.AttrAcceptDuration, seconds(c.Accept))
	}
	row.str(declared.AttrCloseReason, reason)
	if errorType := closeError(c.Reason); errorType != "" {
		row.str(declared.AttrErrorType, errorType)
	}
	if updates > 0 {
		row.int(declared.AttrConnectionUpdateCount, int64(updates))
	}
	l.finish(record)
	return true
}

// Updated appends a record of an open connection and reports whether it did. The process may be
// nil.
func (l *Logs) Updated(u *connection.Update, p *owner.Process, source owner.Source) bool {
	if !l.enabled[declared.EventConnectionUpdate] {
		return false
	}
	record, ok := l.add(l.resources.Origin(workload(p), u.NetNS), header{event: declared.EventConnectionUpdate, time: u.Time})
	if !ok {
		return false
	}
	age := u.Time - u.Opened
	line, at := l.begin(declared.EventConnectionUpdate, &u.Flow)
	line = oneline.Duration(append(l.appendProcess(line, p), ' '), age)
	received, transmitted := !u.Absent.Has(connection.AbsentReceivedBytes), !u.Absent.Has(connection.AbsentTransmittedBytes)
	if received {
		line = oneline.Bytes(line, "rx", u.ReceivedBytes)
	}
	if transmitted {
		line = oneline.Bytes(line, "tx", u.TransmittedBytes)
	}
	body := l.body(record, line)

	row := &l.row
	putFlow(row, &u.Flow, at, body, u.Interface)
	l.putOwner(row, p, source)
	l.putConnection(row, u.Connection)
	if received {
		row.int(declared.AttrReceiveSize, int64(u.ReceivedBytes))
	}
	if transmitted {
		row.int(declared.AttrTransmitSize, int64(u.TransmittedBytes))
	}
	row.double(declared.AttrConnectionDuration, seconds(age))
	row.int(declared.AttrConnectionUpdateCount, int64(u.Number))
	l.finish(record)
	return true
}

func (l *Logs) putConnection(row *row, c *connection.Connection) {
	row.str(declared.AttrConnectionID, l.connectionID(c.ID))
	row.int(declared.AttrNetNSInode, int64(c.NetNS))
	putMicroseconds(row, declared.AttrHandshakeDuration, c.Handshake)
	putMicroseconds(row, declared.AttrHandshakeRTT, c.HandshakeRTT)
	if c.Adopted {
		row.yes(declared.AttrConnectionAdopted)
	}
	if c.MPTCP {
		row.yes(declared.AttrConnectionMPTCP)
	}
}

func putCounters(row *row, c *connection.Counters, absent connection.Absent) {
	put := func(a declared.Attribute, counter connection.Absent, value int64) {
		if !absent.Has(counter) {
			row.int(a, value)
		}
	}
	put(declared.AttrReceiveSize, connection.AbsentReceivedBytes, int64(c.ReceivedBytes))
	put(declared.AttrTransmitSize, connection.AbsentTransmittedBytes, int64(c.TransmittedBytes))
	put(declared.AttrReceiveSegmentCount, connection.AbsentReceivedSegments, int64(c.ReceivedSegments))
	put(declared.AttrTransmitSegmentCount, connection.AbsentTransmittedSegments, int64(c.TransmittedSegments))
	put(declared.AttrRetransmitCount, connection.AbsentRetransmits, int64(c.Retransmits))
	put(declared.AttrOutOfOrderCount, connection.AbsentOutOfOrder, int64(c.OutOfOrder))
	putMicroseconds(row, declared.AttrRTTSmoothed, c.SmoothedRTT)
	putMicroseconds(row, declared.AttrRTTMin, c.MinRTT)
}

// putMicroseconds writes seconds. 0 means not measured, and writes nothing.
func putMicroseconds(row *row, a declared.Attribute, microseconds uint32) {
	if microseconds > 0 {
		row.double(a, float64(microseconds)/1e6)
	}
}

// closeError returns error.type of a connection; "" if it ended with FINs.
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
