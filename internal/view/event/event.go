// SPDX-License-Identifier: Apache-2.0

// Package event reads log records of the receiver and its connectors for people. It knows the
// names that metadata.yaml declares, and nothing of where a record comes from: this host's kernel,
// a gateway, or a file that is replayed.
package event

import (
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// Kind is what happened.
type Kind uint8

// The kinds. Other is every event that has no kind of its own.
const (
	Other Kind = iota
	Open
	Update
	Close
	Failed
	Request
	Handshake
	Threat
	Blocked
	Unblocked
	Packet
	Source
)

// kindOf returns the kind of an event by its name.
func kindOf(name string) Kind {
	switch name {
	case "tcp.server.connection.open":
		return Open
	case "tcp.server.connection.update":
		return Update
	case "tcp.server.connection.close":
		return Close
	case "tcp.server.connection.failed":
		return Failed
	case "tcp.server.http.request":
		return Request
	case "tcp.server.tls.handshake":
		return Handshake
	case "tcp.server.threat":
		return Threat
	case "tcp.server.source.blocked":
		return Blocked
	case "tcp.server.source.unblocked":
		return Unblocked
	case "tcp.server.packet":
		return Packet
	case "tcp.server.source", "tcp.server.listener":
		return Source
	}
	return Other
}

// String is the kind's word in a column: at most seven letters.
func (k Kind) String() string {
	switch k {
	case Open:
		return "open"
	case Update:
		return "update"
	case Close:
		return "close"
	case Failed:
		return "failed"
	case Request:
		return "request"
	case Handshake:
		return "tls"
	case Threat:
		return "threat"
	case Blocked:
		return "block"
	case Unblocked:
		return "unblock"
	case Packet:
		return "packet"
	case Source:
		return "source"
	default:
		return "event"
	}
}

// Seconds is a duration that can be absent: then it is negative.
type Seconds float64

// absent is the value of what a record does not have, where 0 would be a value.
const absent = -1

// Known says whether the record has the value.
func (s Seconds) Known() bool { return s >= 0 }

// Duration rounds to nanoseconds. It is 0 if the value is absent.
func (s Seconds) Duration() time.Duration {
	if !s.Known() {
		return 0
	}
	return time.Duration(float64(s) * float64(time.Second))
}

// Event is one record. Strings are clean: valid UTF-8 without control characters or such that
// change the direction of text. They are empty, and numbers negative, if the record lacks them;
// ports and the process ID are then 0.
type Event struct {
	Kind Kind
	// Name is the event's name, such as "tcp.server.connection.close".
	Name string
	// Time is when it happened, by the kernel's clock.
	Time time.Time
	// Bad says that something failed, or that the record is a warning.
	Bad bool

	// Host and Container are the resource's host.name and container.id.
	Host, Container string

	// Client is who asked; behind a trusted proxy what the proxy says.
	Client     string
	ClientPort uint16
	// Port is that of the server's end of the socket.
	Port       uint16
	Process    string
	PID        int64
	Connection string

	// Duration is how long it took: the life of a connection, a request with its answer, a
	// handshake.
	Duration Seconds
	// RTT is the smallest that was measured, or the handshake's.
	RTT Seconds
	// Received and Sent are bytes of payload.
	Received, Sent int64
	Retransmits    int64

	// Reason is why a connection ended, or why something failed: tcp.close.reason or error.type.
	Reason string

	// Method, Path and Status are a request's. Call is the full method of gRPC, Model the name of
	// a language model.
	Method, Path, Call, Model string
	Status                    int64
	// Protocol is the version of HTTP, or name and version of TLS.
	Protocol string
	// ServerName is the host that the client asked for: SNI of TLS or Host of HTTP.
	ServerName string

	// Rule and State are of a finding or a block.
	Rule, State string
	// Text is the record's body without the event's name.
	Text string
}

// Read reads one record and its resource, in one pass each.
func Read(resource pcommon.Resource, record plog.LogRecord) Event {
	e := Event{
		Name: clean.String(record.EventName()), Time: record.Timestamp().AsTime(),
		Bad:      record.SeverityNumber() >= plog.SeverityNumberWarn,
		Duration: absent, RTT: absent, Received: absent, Sent: absent, Retransmits: absent, Status: absent,
	}
	if e.Name == "" {
		// Some backends and their exporters ignore the event's name. The body begins with it.
		e.Name, _, _ = strings.Cut(clean.String(record.Body().AsString()), " ")
	}
	e.Kind = kindOf(e.Name)
	for key, value := range resource.Attributes().All() {
		switch key {
		case "host.name":
			e.Host = clean.String(value.AsString())
		case "container.id":
			e.Container = clean.String(value.AsString())
		}
	}
	var s socket
	for key, value := range record.Attributes().All() {
		e.put(&s, key, value)
	}
	s.into(&e)
	e.Text = strings.TrimPrefix(strings.TrimPrefix(clean.String(record.Body().AsString()), e.Name), " ")
	return e
}

// socket is what the socket says where a request's own names can differ.
type socket struct {
	peer                string
	peerPort, localPort uint16
	address             string
	serverPort          uint16
	handshakeRTT        Seconds
	protocolName        string
	close, fault        string
}

// into fills in what is decided by more than one attribute.
func (s *socket) into(e *Event) {
	if e.Client == "" {
		e.Client, e.ClientPort = s.peer, s.peerPort
	}
	e.Port = s.localPort
	if e.Port == 0 {
		e.Port = s.serverPort
	}
	if e.Kind == Request || e.Kind == Handshake {
		e.ServerName = s.address
	}
	if !e.RTT.Known() && s.handshakeRTT > 0 {
		e.RTT = s.handshakeRTT
	}
	e.Reason = s.close
	if s.fault != "" {
		e.Bad = true
		if e.Reason == "" {
			e.Reason = s.fault
		}
	}
	if s.protocolName != "" && s.protocolName != "http" {
		e.Protocol = strings.TrimSpace(s.protocolName + " " + e.Protocol)
	}
}
