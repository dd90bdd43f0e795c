// SPDX-License-Identifier: Apache-2.0

package ledger

import "iter"

// Event is a kind of fact whose losses are counted. Its String is the value of the event
// attribute of the internal metrics. The kernel side numbers events in the same way.
type Event uint8

const (
	// Connection is accounted per connection: produced when it opens or is adopted,
	// delivered when its close is.
	Connection Event = iota
	Open
	Failed
	Packet
	Listener
	Process
	// PortCount is an increment of a counter per port that found no room.
	PortCount
	// Segment is a segment, or a piece of one, whose bytes inspection wanted. It is delivered
	// when the table of inspected connections took it.
	Segment
	// Request is an exchange that inspection found. User space produces it.
	Request
	// Handshake is how TLS began on a connection. User space produces it.
	Handshake
	// Source is what a source did in an interval, or several together. User space produces it.
	Source
	// Service is how a listener or a network namespace fared in an interval. User space produces
	// it.
	Service
	// SourceCount is an increment of what sources without an entry did. Only losses are counted.
	SourceCount
	// Update is what an open connection did since the last one. User space produces it, and the
	// kernel side does not know it.
	Update
	Events
)

// Cause is a place where events are lost, and the reason. The kernel side numbers causes in
// the same way.
type Cause uint8

const (
	// MapFull: a kernel map had no room.
	MapFull Cause = iota
	// MapShare: the network namespace holds its share of a kernel map.
	MapShare
	// MapStale: a connection's map entry was overwritten; its end was not seen.
	MapStale
	// RingFull: the ring buffer had no room.
	RingFull
	// RateLimited: over the configured number per second.
	RateLimited
	// RateShare: the network namespace had its share of the configured number.
	RateShare
	// Undecodable: user space could not read the record.
	Undecodable
	// TableFull: the receiver's own table of such facts had no room.
	TableFull
	// BudgetFull: the bytes that the table may hold were used up.
	BudgetFull
	// ParserFault: a parser failed, and forgot what it followed.
	ParserFault
	// Unproven: after lost packets, nothing showed that what looks like a request is one.
	Unproven
	// QueueFull: over queue.max_bytes.
	QueueFull
	// Refused: the consumer returned a permanent error.
	Refused
	// RetryExhausted: retry_on_failure gave up.
	RetryExhausted
	// Shutdown: still queued when the time to flush was over.
	Shutdown
	Causes
)

// kind says which causes an event shares with others.
type kind uint8

const (
	// recorded events are records that pass the ring buffer.
	recorded kind = 1 << iota
	// balanced events are delivered, active, queued, left out or lost. Of others only losses
	// are counted.
	balanced
	// consumed events wait for a consumer.
	consumed

	// counter events are increments in the kernel.
	counter kind = 0
	// internal events are records that the receiver uses itself.
	internal = recorded
	// accounted events are records for a consumer.
	accounted = recorded | balanced | consumed
)

// event is a row of the events' table.
type event struct {
	name string
	kind kind
	// limits are the causes that not all events of the kind have. The value is the setting
	// to raise; "" if no setting helps.
	limits map[Cause]string
}

const (
	connections     = "limits::connections"
	halfOpen        = "limits::half_open"
	listeners       = "limits::listeners"
	portCounters    = "limits::port_counters"
	failedPerSecond = "limits::failed_per_second"
	inspectRing     = "limits::inspect_ring_bytes"
	inspected       = "limits::inspected_connections"
	inspectedBytes  = "limits::inspected_bytes"

	networkNamespaces = "limits::network_namespaces"
)

var events = [Events]event{
	Connection: {"connection", accounted, map[Cause]string{MapFull: connections, MapShare: connections, MapStale: ""}},
	Open:       {"open", accounted, nil},
	Failed: {"failed", accounted, map[Cause]string{
		MapFull: halfOpen, MapShare: halfOpen, RateLimited: failedPerSecond, RateShare: failedPerSecond,
	}},
	Packet: {"packet", accounted, map[Cause]string{RateLimited: "packets::max_per_second"}},
	Listener: {"listener", internal, map[Cause]string{
		MapFull: listeners, MapShare: listeners, MapStale: "", TableFull: listeners,
	}},
	Process:   {"process", internal, nil},
	PortCount: {"port_count", counter, map[Cause]string{MapFull: portCounters, MapShare: portCounters, TableFull: portCounters}},
	Segment:   {"segment", recorded | balanced, map[Cause]string{RingFull: inspectRing}},
	Request:   {"request", balanced | consumed, map[Cause]string{TableFull: inspected, BudgetFull: inspectedBytes, ParserFault: "", Unproven: ""}},
	Handshake: {"handshake", balanced | consumed, map[Cause]string{BudgetFull: inspectedBytes, ParserFault: ""}},
	Source:    {"source", balanced | consumed, nil},
	Service:   {"service", balanced | consumed, nil},

	SourceCount: {"source_count", counter, map[Cause]string{MapFull: networkNamespaces}},
	Update:      {"update", balanced | consumed, nil},
}

// cause is a row of the causes' table.
type cause struct {
	place, reason string
	// all is the kind of which every event has the cause; 0 if it depends on the event.
	all kind
	// limit is the setting to raise for every event; "" if no setting helps, or if it depends
	// on the event.
	limit string
}

var causes = [Causes]cause{
	MapFull:        {place: "kernel_map", reason: "full"},
	MapShare:       {place: "kernel_map", reason: "namespace_share"},
	MapStale:       {place: "kernel_map", reason: "stale"},
	RingFull:       {"ring", "full", recorded, "limits::ring_bytes"},
	RateLimited:    {place: "kernel", reason: "rate_limited"},
	RateShare:      {place: "kernel", reason: "namespace_share"},
	Undecodable:    {"drain", "undecodable", recorded, ""},
	TableFull:      {place: "table", reason: "full"},
	BudgetFull:     {place: "table", reason: "byte_budget"},
	ParserFault:    {place: "table", reason: "parser_fault"},
	Unproven:       {place: "table", reason: "unproven"},
	QueueFull:      {"queue", "full", consumed, "queue::max_bytes"},
	Refused:        {"consumer", "refused", consumed, ""},
	RetryExhausted: {"consumer", "retry_exhausted", consumed, "retry_on_failure::max_elapsed_time"},
	Shutdown:       {"queue", "shutdown", consumed, ""},
}

func (e Event) String() string { return events[e].name }

// Accounted reports whether the balance of the event is kept. Of other events only losses are
// counted.
func (e Event) Accounted() bool { return events[e].kind&balanced != 0 }

// AccountedEvents are the events whose balance is kept.
func AccountedEvents() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for e := range Events {
			if e.Accounted() && !yield(e) {
				return
			}
		}
	}
}

// Place is where the loss happened.
func (c Cause) Place() string { return causes[c].place }

// Reason is why it happened.
func (c Cause) Reason() string { return causes[c].reason }

// CanLose reports whether an event can be lost for a cause. Such losses are shown before the
// first one happens, so that a rate over them sees it.
func (e Event) CanLose(c Cause) bool {
	_, own := events[e].limits[c]
	return own || events[e].kind&causes[c].all != 0
}

// Limit is the setting that a loss is due to; "" if there is none.
func (e Event) Limit(c Cause) string {
	if own := events[e].limits[c]; own != "" {
		return own
	}
	return causes[c].limit
}
