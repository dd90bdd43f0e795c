// SPDX-License-Identifier: Apache-2.0

// Package ledger keeps the books of the receiver: what was produced, what reached
// a consumer, what waits and what was lost, by place and reason. At rest
//
//	produced = delivered + active + queued + lost
//
// holds exactly for every event; active is not zero for connections only.
package ledger

import "sync/atomic"

// Event is a kind of fact that is accounted for. Its String is the value of the
// event attribute of the internal metrics.
type Event uint8

const (
	// Connection is accounted per connection: produced when it opens or is
	// adopted, delivered when its close is.
	Connection Event = iota
	Open
	Failed
	Packet
	// Listener and Process are records the receiver uses itself; only their
	// losses are counted.
	Listener
	Process
	// PortCount is an increment of a counter per port that found no room.
	PortCount
	Events
)

var eventNames = [Events]string{
	"connection", "open", "failed", "packet", "listener", "process", "port_count",
}

func (e Event) String() string { return eventNames[e] }

// Cause is a place where records are lost, and the reason.
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
	// Undecodable: a record that user space could not read.
	Undecodable
	// TableFull: the receiver's own table of such facts had no room.
	TableFull
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

var causeNames = [Causes]struct{ place, reason string }{
	{"kernel_map", "full"},
	{"kernel_map", "namespace_share"},
	{"kernel_map", "stale"},
	{"ring", "full"},
	{"kernel", "rate_limited"},
	{"kernel", "namespace_share"},
	{"drain", "undecodable"},
	{"table", "full"},
	{"queue", "full"},
	{"consumer", "refused"},
	{"consumer", "retry_exhausted"},
	{"queue", "shutdown"},
}

// Place is where the loss happened.
func (c Cause) Place() string { return causeNames[c].place }

// Reason is why it happened.
func (c Cause) Reason() string { return causeNames[c].reason }

// Losses counts by event and cause.
type Losses [Events][Causes]int64

// Kernel is the kernel side's own account since the probe started; see enum
// ledger_entry in bpf/lib/records.h.
type Kernel struct {
	// Opened and Adopted count connections; the sum is produced[Connection].
	Opened, Adopted int64
	// Produced counts the other events.
	Produced [Events]int64
	Lost     Losses
	// Active is the number of connections in the kernel's map.
	Active int64
}

// Ledger is safe for concurrent use. The zero value is ready.
type Ledger struct {
	kernel    atomic.Pointer[Kernel]
	delivered [Events]atomic.Int64
	queued    [Events]atomic.Int64
	lost      [Events][Causes]atomic.Int64
}

// SetKernel replaces the kernel side's account.
func (l *Ledger) SetKernel(k Kernel) { l.kernel.Store(&k) }

// Deliver counts n events that a consumer accepted.
func (l *Ledger) Deliver(e Event, n int) { l.delivered[e].Add(int64(n)) }

// Queue adds n events (negative: takes them off) to those that wait between the
// drain and the consumer.
func (l *Ledger) Queue(e Event, n int) { l.queued[e].Add(int64(n)) }

// Lose counts n events lost in user space.
func (l *Ledger) Lose(e Event, c Cause, n int) { l.lost[e][c].Add(int64(n)) }

// Balance is one event's line in the books.
type Balance struct {
	Produced, Delivered, Active, Queued, Lost int64
}

// Difference is what the books can't explain; 0 at rest.
func (b Balance) Difference() int64 {
	return b.Produced - b.Delivered - b.Active - b.Queued - b.Lost
}

// Balance draws up the line of one event.
func (l *Ledger) Balance(e Event) Balance {
	b := Balance{Delivered: l.delivered[e].Load(), Queued: l.queued[e].Load()}
	if k := l.kernel.Load(); k != nil {
		b.Produced = k.Produced[e]
		if e == Connection {
			b.Produced, b.Active = k.Opened+k.Adopted, k.Active
		}
	}
	for c := range Causes {
		b.Lost += l.Lost(e, c)
	}
	return b
}

// Lost is the number of events lost at one place for one reason, on either side.
func (l *Ledger) Lost(e Event, c Cause) int64 {
	n := l.lost[e][c].Load()
	if k := l.kernel.Load(); k != nil {
		n += k.Lost[e][c]
	}
	return n
}

// KernelAccount is the kernel side's account as last read; false before the first time.
func (l *Ledger) KernelAccount() (Kernel, bool) {
	if k := l.kernel.Load(); k != nil {
		return *k, true
	}
	return Kernel{}, false
}
