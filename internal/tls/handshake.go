// SPDX-License-Identifier: Apache-2.0

package tls

import "github.com/ebpftcp/ebpftcpreceiver/internal/request"

// Outcome is how a handshake ended.
type Outcome uint8

// Outcomes.
const (
	// OutcomeUnknown is that of a handshake whose end could not be seen, because packets were
	// missed or it was not followed any more.
	OutcomeUnknown Outcome = iota
	OutcomeCompleted
	// OutcomeAlert is a handshake that one side refused with an alert.
	OutcomeAlert
	// OutcomeClosed and OutcomeReset are those of connections that ended before their
	// handshake did.
	OutcomeClosed
	OutcomeReset
	// OutcomeNoAnswer means that one side waited and the other never answered.
	OutcomeNoAnswer
	// OutcomeOther is anything else, such as an answer that is no TLS.
	OutcomeOther
)

// Side is who ended a handshake.
type Side uint8

// Sides.
const (
	SideUnknown Side = iota
	SideClient
	SideServer
)

// String is the value of tcp.tls.ended_by; "" if unknown.
func (s Side) String() string {
	switch s {
	case SideClient:
		return "client"
	case SideServer:
		return "server"
	default:
		return ""
	}
}

// Handshake is the fact that inspection reports about a TLS connection. It belongs to whoever
// reports it, who reuses it after the call. Its bytes are from outside.
type Handshake struct {
	request.Connection
	// Offered is set if the whole ClientHello was read. Without it, Hello is empty.
	Offered bool
	Hello   Hello
	// JA3 and JA4 are fingerprints of the hello; empty if unknown.
	JA3, JA4 []byte
	// Retried is set if the server asked for another hello.
	Retried bool
	// Answered is when the ServerHello passed, in Unix nanoseconds; 0 without one. Version,
	// Cipher and Protocol are what it chose; 0 or empty if unknown.
	Answered        int64
	Version, Cipher uint16
	Protocol        []byte
	// Resumed is set if the handshake resumed a session. ResumedKnown is set if that could
	// be seen.
	Resumed, ResumedKnown bool

	Outcome Outcome
	// By is who ended the handshake, unless it is completed.
	By Side
	// Alert is what one side said, if Alerted: the reason of OutcomeAlert.
	Alert   Alert
	Alerted bool
	// Began is when the first byte of the hello passed, Ended when the outcome was clear, or
	// the last byte of the handshake.
	Began, Ended int64
}

// ErrorType is the value of error.type; "" unless the handshake failed.
func (h *Handshake) ErrorType() string {
	switch h.Outcome {
	case OutcomeAlert:
		if name := h.Alert.String(); name != "" {
			return name
		}
		return ErrorOther
	case OutcomeClosed:
		return "closed"
	case OutcomeReset:
		return "reset"
	case OutcomeNoAnswer:
		return "no_answer"
	case OutcomeOther:
		return ErrorOther
	default:
		return ""
	}
}

// ErrorOther is the conventions' value of error.type for what has no name.
const ErrorOther = "_OTHER"
