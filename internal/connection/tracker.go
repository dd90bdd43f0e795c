// SPDX-License-Identifier: Apache-2.0

package connection

// missedPasses is the number of passes in a row that may miss an open connection before
// it counts as closed. The kernel's iteration is approximate, so one or two mean nothing.
// A connection that is forgotten too soon would count twice.
const missedPasses = 6

// Tracker turns the kernel's counters of open and closed connections into increments, so
// that every byte counts once. The first reading of an adopted connection is its baseline: what
// it transferred before would show as a burst, and may have counted before a restart. Its close
// without a reading adds nothing. It is not safe for concurrent use.
//
// Readings of open connections come in passes. Call BeginPass before reading the kernel,
// because a connection that closes during a pass can still appear in it.
type Tracker struct {
	limit int
	open  map[uint64]tracked

	passing bool
	pass    uint32
	// seen counts the connections of this pass that are still open.
	seen int
	// closed are the connections that closed during this pass.
	closed map[uint64]struct{}
	// closedFull is set if more of them closed than fit.
	closedFull bool
}

// tracked is the last reading of an open connection.
type tracked struct {
	received, transmitted uint64
	pass                  uint32
	// read is set once its socket was read.
	read bool
}

// Delta is the increment of one reading.
type Delta struct {
	// Received and Transmitted are payload bytes.
	Received, Transmitted uint64
}

// NewTracker creates a tracker of at most limit open connections.
func NewTracker(limit int) *Tracker {
	return &Tracker{
		limit:  limit,
		open:   make(map[uint64]tracked),
		closed: make(map[uint64]struct{}),
	}
}

// BeginPass starts a pass over the open connections. A pass without EndPass does not
// count.
func (t *Tracker) BeginPass() {
	t.passing = true
	t.seen = 0
	t.forgetClosed()
}

// EndPass ends a complete pass. It forgets connections that several passes in a row
// missed, because their close was lost, and returns how many.
func (t *Tracker) EndPass() int {
	if !t.passing {
		return 0
	}
	t.passing = false
	t.forgetClosed()
	forgotten := 0
	if t.seen < len(t.open) {
		for id, last := range t.open {
			if t.pass-last.pass >= missedPasses {
				delete(t.open, id)
				forgotten++
			}
		}
	}
	t.pass++
	return forgotten
}

// Live records a reading of an open connection. Beyond the limit it returns the zero
// Delta, and Closed adds everything.
func (t *Tracker) Live(l *Live) Delta {
	last, known := t.open[l.ID]
	if !known {
		if _, closed := t.closed[l.ID]; closed {
			return Delta{}
		}
		if t.closedFull || len(t.open) >= t.limit {
			return Delta{}
		}
	}
	if !known || last.pass != t.pass {
		t.seen++
	}
	t.open[l.ID] = tracked{
		received:    max(last.received, l.ReceivedBytes),
		transmitted: max(last.transmitted, l.TransmittedBytes),
		pass:        t.pass,
		read:        last.read || !l.Unread,
	}
	return last.delta(&l.Connection, l.ReceivedBytes, l.TransmittedBytes)
}

// Closed records the last reading of a connection and forgets it.
func (t *Tracker) Closed(c *Closed) Delta {
	last, known := t.open[c.ID]
	delete(t.open, c.ID)
	if known && last.pass == t.pass {
		t.seen--
	}
	if t.passing {
		if len(t.closed) < t.limit {
			t.closed[c.ID] = struct{}{}
		} else {
			t.closedFull = true
		}
	}
	return last.delta(&c.Connection, c.ReceivedBytes, c.TransmittedBytes)
}

func (t *Tracker) forgetClosed() {
	clear(t.closed)
	t.closedFull = false
}

// delta is never negative. The kernel counts a FIN as one byte, and the close subtracts
// it again.
func (t tracked) delta(of *Connection, received, transmitted uint64) Delta {
	if of.Adopted && !t.read {
		return Delta{}
	}
	return Delta{
		Received:    received - min(received, t.received),
		Transmitted: transmitted - min(transmitted, t.transmitted),
	}
}
