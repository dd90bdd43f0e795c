// SPDX-License-Identifier: Apache-2.0

package connection

import "time"

// Update is what an open connection did since its last Update, or since it opened. For an adopted
// one, it is since its first reading.
type Update struct {
	*Connection
	// Time is when it was read, in Unix nanoseconds.
	Time int64
	// Number counts the updates of the connection, from 1.
	Number int
	// ReceivedBytes and TransmittedBytes are payload bytes, each counted in one Update, or else at
	// the close.
	ReceivedBytes, TransmittedBytes uint64
}

// Updates decides which open connections have an Update, and remembers what their updates
// said. Its zero value makes none. It is not safe for concurrent use. Readings come in passes, as
// those of a Tracker do.
type Updates struct {
	options UpdateOptions
	open    map[uint64]updated
	pass    uint32
	// passing is set during a pass. left is how many updates it may still make.
	passing bool
	left    int
	waiting waiting
	// closed are the connections that closed during this pass, which may still appear in it.
	closed map[uint64]struct{}
}

// UpdateOptions configure Updates.
type UpdateOptions struct {
	// Interval is the time between two updates of a connection; 0 means that there are none.
	Interval time.Duration
	// PerPass bounds the updates of one pass. Connections beyond it wait for a later one. Those that
	// wait longest come first.
	PerPass int
	// Max bounds the connections that are remembered. Those beyond it have no updates.
	Max int
}

// updated is a connection that had an update, or an adopted one.
type updated struct {
	received, transmitted uint64
	due                   int64
	pass                  uint32
	number                int
}

// NewUpdates makes an Updates that knows no connection.
func NewUpdates(options UpdateOptions) Updates {
	return Updates{
		options: options, open: map[uint64]updated{}, closed: map[uint64]struct{}{},
		waiting: waiting{most: options.PerPass},
	}
}

// On reports whether there are updates at all.
func (u *Updates) On() bool { return u.options.Interval > 0 }

// BeginPass begins a pass over the open connections.
func (u *Updates) BeginPass() {
	u.passing = true
	u.left = u.options.PerPass
	u.pass++
	u.waiting.beginPass()
	clear(u.closed)
}

// EndPass ends a complete pass. It forgets connections that several passes in a row missed,
// because their close was lost.
func (u *Updates) EndPass() {
	u.passing = false
	u.waiting.endPass()
	clear(u.closed)
	for id, known := range u.open {
		if u.pass-known.pass >= missedPasses {
			delete(u.open, id)
		}
	}
}

// Live reports whether a reading of an open connection is an update, and which.
func (u *Updates) Live(l *Live, now int64) (Update, bool) {
	if _, closed := u.closed[l.ID]; closed {
		return Update{}, false
	}
	known, ok := u.open[l.ID]
	if !ok {
		known.due = l.Opened + int64(u.options.Interval)
		if l.Adopted {
			u.adopt(l, known.due)
			return Update{}, false
		}
	}
	due := now >= known.due && !l.Unread && (ok || len(u.open) < u.options.Max) && u.waiting.admit(known.due, u.left)
	known.pass = u.pass
	if !due {
		if ok {
			u.open[l.ID] = known
		}
		return Update{}, false
	}
	u.left--
	update := Update{
		Connection: &l.Connection, Time: now, Number: known.number + 1,
		ReceivedBytes:    l.ReceivedBytes - min(l.ReceivedBytes, known.received),
		TransmittedBytes: l.TransmittedBytes - min(l.TransmittedBytes, known.transmitted),
	}
	u.open[l.ID] = updated{
		received: max(known.received, l.ReceivedBytes), transmitted: max(known.transmitted, l.TransmittedBytes),
		due: now + int64(u.options.Interval), pass: u.pass, number: update.Number,
	}
	return update, true
}

// adopt takes the first reading of an adopted connection as its baseline: what it did before may
// be in records from before a restart.
func (u *Updates) adopt(l *Live, due int64) {
	if !l.Unread && len(u.open) < u.options.Max {
		u.open[l.ID] = updated{received: l.ReceivedBytes, transmitted: l.TransmittedBytes, due: due, pass: u.pass}
	}
}

// Closed takes from the last reading of a connection what its updates said, and forgets it. It
// returns how many updates there were.
func (u *Updates) Closed(c *Closed) int {
	if !u.On() {
		return 0
	}
	if u.passing && len(u.closed) < u.options.Max {
		u.closed[c.ID] = struct{}{}
	}
	known, ok := u.open[c.ID]
	if !ok {
		return 0
	}
	delete(u.open, c.ID)
	// The kernel counts a FIN as one byte, and the close subtracts it again.
	c.ReceivedBytes -= min(c.ReceivedBytes, known.received)
	c.TransmittedBytes -= min(c.TransmittedBytes, known.transmitted)
	return known.number
}
