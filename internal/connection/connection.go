// SPDX-License-Identifier: Apache-2.0

// Package connection has the domain of inbound TCP connections: the facts that a probe
// reports, their listeners, and the increments between two readings of a live connection.
// It depends on neither the kernel nor pdata.
package connection

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
)

// Connection is what stays the same during a connection. Only its owner can change.
type Connection struct {
	// ID is unique among the connections of one probe.
	ID uint64
	flow.Flow
	// NetNS is the inode number of the server's network namespace.
	NetNS uint32
	// Interface is where the handshake arrived; "" if unknown.
	Interface string
	// Owner is the process, if the kernel side knows it. Its Source is owner.None if
	// only the listener can be known.
	Owner owner.Ref
	// Opened is when the connection was established, in Unix nanoseconds. For an
	// adopted connection it is when the probe found it.
	Opened int64
	// Accept is the time in the accept queue in nanoseconds; 0 means not seen.
	Accept int64
	// HandshakeRTT is in microseconds; 0 means not measured.
	HandshakeRTT uint32
	// Handshake is the time from the first SYN-ACK to the ACK in microseconds,
	// including retransmits of the SYN-ACK; 0 means not measured.
	Handshake uint32
	// Adopted connections were open before the probe started.
	Adopted bool
	// MPTCP marks a subflow of a multipath connection.
	MPTCP bool
	// Absent are the counters that this kernel lacks.
	Absent Absent
}

// Absent are the counters that the kernel lacks. Their values in Counters and Live mean
// nothing. Nearly every kernel has all counters, which is the zero value.
type Absent uint8

// One bit for each counter that can be 0. In the others 0 means not measured.
const (
	AbsentReceivedBytes Absent = 1 << iota
	AbsentTransmittedBytes
	AbsentReceivedSegments
	AbsentTransmittedSegments
	AbsentRetransmits
	AbsentOutOfOrder
)

// Has reports whether a counter is absent.
func (a Absent) Has(counter Absent) bool { return a&counter != 0 }

// Counters are the kernel's own figures of one connection.
type Counters struct {
	// ReceivedBytes and TransmittedBytes are payload, each byte once.
	ReceivedBytes, TransmittedBytes uint64
	// ReceivedSegments and TransmittedSegments include control segments.
	ReceivedSegments, TransmittedSegments uint32
	Retransmits, OutOfOrder               uint32
	// SmoothedRTT and MinRTT are in microseconds; 0 means not measured.
	SmoothedRTT, MinRTT uint32
}

// Opened is an established inbound connection.
type Opened struct {
	Connection
}

// Closed is a connection that ended.
type Closed struct {
	Connection
	Counters
	// Time is when it ended, Unix nanoseconds.
	Time   int64
	Reason CloseReason
}

// Duration is the connection's lifetime in nanoseconds, from Opened to Time.
func (c *Closed) Duration() int64 { return max(0, c.Time-c.Opened) }

// Live is one reading of an open connection.
type Live struct {
	Connection
	// ReceivedBytes and TransmittedBytes are those of Counters so far.
	ReceivedBytes, TransmittedBytes uint64
	// Unread means that the socket could not be read. The bytes are then unknown.
	Unread bool
}

// Failed is an attempt that never became a connection.
type Failed struct {
	flow.Flow
	// Time is Unix nanoseconds.
	Time      int64
	NetNS     uint32
	Interface string
	Type      Failure
}

// CloseReason says why a connection ended. Its String is the value of
// tcp.close.reason.
type CloseReason uint8

// Values match enum close_reason in bpf/lib/records.h; a test in probe holds them together.
const (
	CloseUnknown CloseReason = iota
	CloseClientFIN
	CloseServerFIN
	CloseClientReset
	CloseServerReset
	CloseAborted
	CloseTimeout
)

func (r CloseReason) String() string {
	switch r {
	case CloseClientFIN:
		return "client_fin"
	case CloseServerFIN:
		return "server_fin"
	case CloseClientReset:
		return "client_reset"
	case CloseServerReset:
		return "server_reset"
	case CloseAborted:
		return "aborted"
	case CloseTimeout:
		return "timeout"
	default:
		return "unknown"
	}
}

// Orderly reports whether the connection ended with FINs.
func (r CloseReason) Orderly() bool { return r == CloseClientFIN || r == CloseServerFIN }

// Failure says why an attempt failed. Its String is the value of error.type.
type Failure uint8

// Values match enum failure in bpf/lib/records.h.
const (
	FailureOther Failure = iota
	FailureRefused
	FailureHandshakeTimeout
	FailureReset
	FailureAcceptQueueOverflow
)

func (f Failure) String() string {
	switch f {
	case FailureRefused:
		return "refused"
	case FailureHandshakeTimeout:
		return "handshake_timeout"
	case FailureReset:
		return "reset"
	case FailureAcceptQueueOverflow:
		return "accept_queue_overflow"
	default:
		return "_OTHER"
	}
}
