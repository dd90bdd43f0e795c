// SPDX-License-Identifier: Apache-2.0

// Package ledger accounts for the receiver's events: what was produced, what reached a
// consumer, what waits and what was lost, by place and reason. At rest
//
//	produced = delivered + active + queued + left out + lost
//
// holds exactly for every accounted event. Only connections can be active, and only requests
// can be left out.
package ledger

import "sync/atomic"

// Losses counts by event and cause.
type Losses [Events][Causes]int64

// Kernel is the kernel side's own account since the probe started; see struct ledger in
// bpf/lib/records.h.
type Kernel struct {
	// Opened and Adopted count connections. Their sum is what was produced of Connection.
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
	produced  [Events]atomic.Int64
	delivered [Events]atomic.Int64
	leftOut   [Events]atomic.Int64
	queued    [Events]atomic.Int64
	lost      [Events][Causes]atomic.Int64
}

// SetKernel replaces the kernel side's part.
func (l *Ledger) SetKernel(k Kernel) { l.kernel.Store(&k) }

// Produce counts n events that user space found. The kernel side counts the others.
func (l *Ledger) Produce(e Event, n int) { l.produced[e].Add(int64(n)) }

// LeaveOut counts n events that the configuration does not select for a consumer.
func (l *Ledger) LeaveOut(e Event, n int) { l.leftOut[e].Add(int64(n)) }

// Deliver counts n events that a consumer accepted.
func (l *Ledger) Deliver(e Event, n int) { l.delivered[e].Add(int64(n)) }

// Queue adds n events (negative: takes them off) to those that wait between the
// drain and the consumer.
func (l *Ledger) Queue(e Event, n int) { l.queued[e].Add(int64(n)) }

// Lose counts n events lost in user space.
func (l *Ledger) Lose(e Event, c Cause, n int) { l.lost[e][c].Add(int64(n)) }

// Balance is one event's line.
type Balance struct {
	Produced, Delivered, Active, Queued, LeftOut, Lost int64
}

// Difference is what the ledger can't explain; 0 at rest.
func (b Balance) Difference() int64 {
	return b.Produced - b.Delivered - b.Active - b.Queued - b.LeftOut - b.Lost
}

// Balance returns the line of one event.
func (l *Ledger) Balance(e Event) Balance {
	b := Balance{
		Produced:  l.produced[e].Load(),
		Delivered: l.delivered[e].Load(),
		Queued:    l.queued[e].Load(),
		LeftOut:   l.leftOut[e].Load(),
	}
	if k := l.kernel.Load(); k != nil {
		b.Produced += k.Produced[e]
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

// Kernel is the kernel side's part as last read; false before the first time.
func (l *Ledger) Kernel() (Kernel, bool) {
	if k := l.kernel.Load(); k != nil {
		return *k, true
	}
	return Kernel{}, false
}
