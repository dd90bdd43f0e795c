// SPDX-License-Identifier: Apache-2.0

package shares

import (
	"hash/maphash"
	"net/netip"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// Event is what a record is about.
type Event uint8

// The events that are read. All others are Unknown.
const (
	Unknown Event = iota
	// Closed: a connection ended.
	Closed
	// Answered: a request was answered. Only errors are of interest.
	Answered
	// Counted: what a source did in an interval.
	Counted
)

// Record is what a log record says.
type Record struct {
	Event Event
	// Source is the socket's peer; invalid in the record that sums up other sources.
	Source netip.Prefix
	// Connection is a hash of tcp.connection.id; 0 without one.
	Connection uint64
	// Served: closed by FIN after both sides sent payload.
	Served bool
	// Error: the answer was 4xx or 5xx.
	Error bool
	// Completed handshakes of the interval.
	Completed int64
}

// Reader reads log records in one pass, without an allocation.
type Reader struct{ seed maphash.Seed }

// NewReader makes a reader.
func NewReader() *Reader { return &Reader{maphash.MakeSeed()} }

// raw are the attributes as they come.
type raw struct {
	client, peer     netip.Addr
	prefix           netip.Prefix
	sent, received   int64
	completed, rest  int64
	status           int64
	fin, known, junk bool
	connection       uint64
}

// Read fills a record. It reports false for other events and for records without what
// they must have.
func (r *Reader) Read(from plog.LogRecord, to *Record) bool {
	event := Unknown
	switch from.EventName() {
	case "tcp.server.connection.close":
		event = Closed
	case "tcp.server.http.request":
		event = Answered
	case "tcp.server.source":
		event = Counted
	default:
		return false
	}
	var a raw
	for name, value := range from.Attributes().All() {
		r.attribute(&a, name, value)
	}
	*to = Record{Event: event, Connection: a.connection}
	return !a.junk && to.complete(event, &a)
}

// complete decides what the attributes mean.
func (to *Record) complete(event Event, a *raw) bool {
	switch event {
	case Closed:
		to.Source = of(a.client)
		to.Served = a.fin && a.sent > 0 && a.received > 0
	case Answered:
		// client.address may come from a header.
		to.Source = of(a.peer)
		to.Error = a.status >= 400 && a.status < 600
	default:
		to.Completed = a.completed
		if a.rest > 0 {
			return a.known
		}
		to.Source = a.prefix
		return a.known && a.prefix.IsValid()
	}
	return to.Source.IsValid()
}

func (r *Reader) attribute(a *raw, name string, value pcommon.Value) {
	switch name {
	case "client.address":
		a.client = addr(value)
	case "network.peer.address":
		a.peer = addr(value)
	case "tcp.source.prefix":
		if value.Type() == pcommon.ValueTypeStr {
			a.prefix, _ = netip.ParsePrefix(value.Str())
		}
	case "tcp.connection.id":
		if value.Type() == pcommon.ValueTypeStr {
			a.connection = maphash.String(r.seed, value.Str()) | 1
		}
	case "tcp.close.reason":
		if value.Type() == pcommon.ValueTypeStr {
			a.fin = value.Str() == "client_fin" || value.Str() == "server_fin"
		}
	case "tcp.receive.size":
		a.received = a.count(value)
	case "tcp.transmit.size":
		a.sent = a.count(value)
	case "http.response.status_code":
		a.status = a.count(value)
	case "tcp.source.rest.count":
		a.rest = a.count(value)
	case "tcp.source.completed.count":
		a.completed, a.known = a.count(value), true
	}
}

// count reads a number of which sums fit.
func (a *raw) count(value pcommon.Value) int64 {
	if value.Type() != pcommon.ValueTypeInt || value.Int() < 0 || value.Int() > 1<<40 {
		a.junk = true
		return 0
	}
	return value.Int()
}

func addr(value pcommon.Value) netip.Addr {
	if value.Type() != pcommon.ValueTypeStr {
		return netip.Addr{}
	}
	parsed, _ := netip.ParseAddr(value.Str())
	return parsed
}

func of(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen())
}
