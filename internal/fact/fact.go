// SPDX-License-Identifier: Apache-2.0

// Package fact defines what the kernel side reports: one Sink takes the facts of all
// vantage points.
package fact

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// Sink takes facts in the order in which the kernel recorded them. Calls never overlap.
// A fact belongs to the caller, who reuses it after the call.
type Sink interface {
	ProcessSeen(*owner.Sighting)
	ListenerOpened(*connection.Listener)
	// ListenerClosed gets the Socket of an earlier Listener, which may be unknown, and
	// the last count of connection.Queues. The count is 0 when it could not be read.
	ListenerClosed(socket, overflows uint64)
	ConnectionOpened(*connection.Opened)
	ConnectionClosed(*connection.Closed)
	ConnectionFailed(*connection.Failed)
	PacketSelected(*packet.Packet)
	// RequestSeen gets a request with its answer, or one of them alone. Its bytes are secret
	// until they are redacted.
	RequestSeen(*request.Exchange)
	// RequestUnderWay gets a request that has begun and not ended, in each snapshot.
	RequestUnderWay(*request.Exchange)
	// HandshakeSeen gets how TLS began on a connection. Its bytes are from outside.
	HandshakeSeen(*tls.Handshake)
	// SourceSeen gets what a source did in an interval.
	SourceSeen(*source.Source)
	// ServiceSeen and NamespaceSeen get how a listener and a network namespace fared meanwhile.
	ServiceSeen(*source.Service)
	NamespaceSeen(*source.Namespace)
	// SegmentsUsed counts segments that inspection took from the kernel side and used.
	SegmentsUsed(n int)
	// FactsLost counts facts that the kernel side recorded and user space could not keep.
	FactsLost(ledger.Event, ledger.Cause, int)
}

// Nop takes every fact and does nothing. A sink that wants a few kinds embeds it.
type Nop struct{}

// ProcessSeen does nothing.
func (Nop) ProcessSeen(*owner.Sighting) {}

// ListenerOpened does nothing.
func (Nop) ListenerOpened(*connection.Listener) {}

// ListenerClosed does nothing.
func (Nop) ListenerClosed(uint64, uint64) {}

// ConnectionOpened does nothing.
func (Nop) ConnectionOpened(*connection.Opened) {}

// ConnectionClosed does nothing.
func (Nop) ConnectionClosed(*connection.Closed) {}

// ConnectionFailed does nothing.
func (Nop) ConnectionFailed(*connection.Failed) {}

// PacketSelected does nothing.
func (Nop) PacketSelected(*packet.Packet) {}

// RequestSeen does nothing.
func (Nop) RequestSeen(*request.Exchange) {}

// RequestUnderWay does nothing.
func (Nop) RequestUnderWay(*request.Exchange) {}

// HandshakeSeen does nothing.
func (Nop) HandshakeSeen(*tls.Handshake) {}

// SourceSeen does nothing.
func (Nop) SourceSeen(*source.Source) {}

// ServiceSeen does nothing.
func (Nop) ServiceSeen(*source.Service) {}

// NamespaceSeen does nothing.
func (Nop) NamespaceSeen(*source.Namespace) {}

// SegmentsUsed does nothing.
func (Nop) SegmentsUsed(int) {}

// FactsLost does nothing.
func (Nop) FactsLost(ledger.Event, ledger.Cause, int) {}

// Tee hands every fact to each of its sinks, in their order. A sink must not change a
// fact, because the next one gets it, too.
type Tee []Sink

// ProcessSeen implements Sink.
func (t Tee) ProcessSeen(s *owner.Sighting) {
	for _, to := range t {
		to.ProcessSeen(s)
	}
}

// ListenerOpened implements Sink.
func (t Tee) ListenerOpened(l *connection.Listener) {
	for _, to := range t {
		to.ListenerOpened(l)
	}
}

// ListenerClosed implements Sink.
func (t Tee) ListenerClosed(socket, overflows uint64) {
	for _, to := range t {
		to.ListenerClosed(socket, overflows)
	}
}

// ConnectionOpened implements Sink.
func (t Tee) ConnectionOpened(c *connection.Opened) {
	for _, to := range t {
		to.ConnectionOpened(c)
	}
}

// ConnectionClosed implements Sink.
func (t Tee) ConnectionClosed(c *connection.Closed) {
	for _, to := range t {
		to.ConnectionClosed(c)
	}
}

// ConnectionFailed implements Sink.
func (t Tee) ConnectionFailed(f *connection.Failed) {
	for _, to := range t {
		to.ConnectionFailed(f)
	}
}

// PacketSelected implements Sink.
func (t Tee) PacketSelected(p *packet.Packet) {
	for _, to := range t {
		to.PacketSelected(p)
	}
}

// RequestSeen implements Sink.
func (t Tee) RequestSeen(e *request.Exchange) {
	for _, to := range t {
		to.RequestSeen(e)
	}
}

// RequestUnderWay implements Sink.
func (t Tee) RequestUnderWay(e *request.Exchange) {
	for _, to := range t {
		to.RequestUnderWay(e)
	}
}

// HandshakeSeen implements Sink.
func (t Tee) HandshakeSeen(h *tls.Handshake) {
	for _, to := range t {
		to.HandshakeSeen(h)
	}
}

// SourceSeen implements Sink.
func (t Tee) SourceSeen(s *source.Source) {
	for _, to := range t {
		to.SourceSeen(s)
	}
}

// ServiceSeen implements Sink.
func (t Tee) ServiceSeen(s *source.Service) {
	for _, to := range t {
		to.ServiceSeen(s)
	}
}

// NamespaceSeen implements Sink.
func (t Tee) NamespaceSeen(n *source.Namespace) {
	for _, to := range t {
		to.NamespaceSeen(n)
	}
}

// SegmentsUsed implements Sink.
func (t Tee) SegmentsUsed(n int) {
	for _, to := range t {
		to.SegmentsUsed(n)
	}
}

// FactsLost implements Sink.
func (t Tee) FactsLost(e ledger.Event, c ledger.Cause, n int) {
	for _, to := range t {
		to.FactsLost(e, c, n)
	}
}
