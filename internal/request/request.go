// SPDX-License-Identifier: Apache-2.0

// Package request has the fact that inspection reports: a request and its answer, whatever
// protocol carried them. Bytes are as they were on the wire. They are secret until the
// receiver's redaction has seen them, so nothing here prints them.
package request

import (
	"net/netip"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
)

// Connection is the TCP connection that carried an exchange.
type Connection struct {
	flow.Flow
	// NetNS is the inode number of the server's network namespace.
	NetNS uint32
	// Interface is where the packets passed; "" if unknown.
	Interface string
	// ID is that of connection.Connection; 0 if unknown.
	ID uint64
	// Owner is the process that the kernel side knows. Its Source is owner.None if only the
	// listener can be known.
	Owner owner.Ref
	// Proxied is the client that a PROXY protocol header names; invalid without one.
	Proxied netip.AddrPort
}

// Learn takes what is known better now.
func (c *Connection) Learn(on *Connection) {
	if on.Owner.Source > c.Owner.Source {
		c.Owner = on.Owner
	}
	if on.ID != 0 {
		c.ID = on.ID
	}
	if on.Interface != "" {
		c.Interface = on.Interface
	}
}

// Version is a version of HTTP.
type Version uint8

// Versions. VersionUnknown is that of a message whose start line has none.
const (
	VersionUnknown Version = iota
	Version10
	Version11
	Version2
)

// String is the value of network.protocol.version; "" if unknown.
func (v Version) String() string {
	switch v {
	case Version10:
		return "1.0"
	case Version11:
		return "1.1"
	case Version2:
		return "2"
	default:
		return ""
	}
}

// Field is a header field: its name as sent, its value without surrounding white space.
type Field struct{ Name, Value []byte }

// Message is one direction of an exchange.
type Message struct {
	// Trailers are the fields that follow the body.
	Trailers []Field
	fields   fields
	// EventStream is set if the content is a stream of events, which lasts as long as somebody
	// listens.
	EventStream bool
	// Began and Ended are the times of the first and last byte in Unix nanoseconds; 0 if
	// unknown.
	Began, Ended int64
	// BodyBegan is the time of the first byte of the content; 0 if unknown. It is known only of
	// bodies whose beginning was asked for.
	BodyBegan int64
	// HeadBytes are those of the head on the wire.
	HeadBytes int
	// BodyBytes are those of the content on the wire, without chunk framing; -1 if unknown.
	BodyBytes int64
	// Body is the beginning of the content, or its end if BodyTail is set. It has no chunk
	// framing, but content encodings are as sent. Empty unless asked for.
	Body []byte
	// BodyCut is set if Body lacks bytes of the content.
	BodyCut bool
	// Tail is the end of the content, of bodies whose end was asked for and is not in Body.
	Tail []byte
	// HeadCut is set if the head or the trailers were larger than their bound, or than what
	// buffers were left: fields and trailers are those within.
	HeadCut bool
}

// Field returns the value of the first field of a name, which is in lower case; nil if
// there is none.
func (m *Message) Field(name string) []byte {
	for _, f := range m.Fields() {
		if EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return nil
}

// EqualFold reports whether name, of any case, equals lower, which is in lower case.
func EqualFold(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Problem says why an exchange is not a request with its answer. Its String is the value of
// error.type.
type Problem uint8

// Problems.
const (
	ProblemNone Problem = iota
	// ProblemMalformedRequest is a request that could not be parsed, answered or not.
	ProblemMalformedRequest
	// ProblemMalformedAnswer is an answer that could not be parsed.
	ProblemMalformedAnswer
	// ProblemNoRequest is an answer whose request was not seen: the connection is older than
	// the inspection.
	ProblemNoRequest
	// ProblemMissed is a request or an answer alone, because packets between were missed.
	ProblemMissed
	// Unanswered requests, by what ended the wait. The side is the one that acted first.
	ProblemClientClosed
	ProblemServerClosed
	ProblemClientReset
	ProblemServerReset
	ProblemIdle
	// ProblemCut is an answer whose body ended before its declared length.
	ProblemCut
	Problems
)

func (p Problem) String() string {
	switch p {
	case ProblemMalformedRequest:
		return "malformed_request"
	case ProblemMalformedAnswer:
		return "malformed_answer"
	case ProblemNoRequest:
		return "request_not_seen"
	case ProblemMissed:
		return "packets_missed"
	case ProblemClientClosed:
		return "client_closed"
	case ProblemServerClosed:
		return "server_closed"
	case ProblemClientReset:
		return "client_reset"
	case ProblemServerReset:
		return "server_reset"
	case ProblemIdle:
		return "idle"
	case ProblemCut:
		return "answer_cut"
	default:
		return ""
	}
}

// ClosedBy is the problem of a request whose connection one side closed.
func ClosedBy(client bool) Problem {
	if client {
		return ProblemClientClosed
	}
	return ProblemServerClosed
}

// ResetBy is the problem of a request whose connection one side reset.
func ResetBy(client bool) Problem {
	if client {
		return ProblemClientReset
	}
	return ProblemServerReset
}

// Unanswered reports whether the wait for an answer ended without one.
func (p Problem) Unanswered() bool { return ProblemClientClosed <= p && p <= ProblemIdle }

// Exchange is a request with its answer, or one of them alone. It belongs to whoever reports
// it, who reuses it after the call.
type Exchange struct {
	Connection
	// Version is the request's, or the answer's if there is no request.
	Version Version
	// Method and Target are as sent; both are empty if there is no request line.
	Method, Target []byte
	// Status is 0 without an answer.
	Status int

	Request, Answer Message
	Problem         Problem
	// Finished is when nothing more was expected: the end of the answer, or of the wait.
	Finished int64
	// Switched is set if the connection left HTTP with this exchange: CONNECT or an
	// upgrade. Nothing behind is parsed.
	Switched bool
	// Retransmits are segments that the server sent again meanwhile; -1 if unknown.
	Retransmits int64
	// Overlapped are bytes that were sent again with another content. The first were used.
	Overlapped int
}

// Renew empties the exchange, except for its memory. Nothing is known of retransmits.
func (e *Exchange) Renew(on *Connection) {
	asked, answered := e.Request.memory(), e.Answer.memory()
	*e = Exchange{}
	e.Connection, e.Retransmits = *on, -1
	e.Request.reuse(asked)
	e.Answer.reuse(answered)
}

// Duration is from the first byte of the request to the last of the answer, in nanoseconds;
// false if one of them is unknown.
func (e *Exchange) Duration() (int64, bool) {
	if e.Request.Began == 0 || e.Answer.Ended == 0 {
		return 0, false
	}
	return max(0, e.Answer.Ended-e.Request.Began), true
}
