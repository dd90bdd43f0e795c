// SPDX-License-Identifier: Apache-2.0

package connection

// missedPasses is how many passes in a row an open connection may be missing in
// before it is taken for closed. The kernel's iteration is approximate, so that one
// or two mean nothing; a connection forgotten too soon would count twice.
const missedPasses = 6

// DefaultMaxTracked is the number of open connections tracked by default.
const DefaultMaxTracked = 131072

// Tracker turns the kernel's counters of open and closed connections into what was
// added since the last look, so that every byte counts once. There is no baseline:
// the first look at a connection adds all of its bytes, also those from before it
// was adopted. It is not safe for concurrent use.
//
// Looks at open connections come in passes. BeginPass must be called before the
// kernel is read: a connection that closes while a pass is under way may still
// turn up in it.
type Tracker struct {
	limit int
	open  map[uint64]tracked

	passing bool
	pass    uint32
	// seen is at most the number of open connections that this pass has had.
	seen int
	// closed are the connections that were closed during this pass.
	closed map[uint64]struct{}
	// closedFull is set when more of them closed than can be remembered.
	closedFull bool
}

// tracked is the last look at an open connection.
type tracked struct {
	received, transmitted uint64
	pass                  uint32
}

// Delta is what one look adds.
type Delta struct {
	// Received and Transmitted are payload bytes.
	Received, Transmitted uint64
}

// NewTracker makes a tracker of at most limit open connections; 0 means
// DefaultMaxTracked.
func NewTracker(limit int) *Tracker {
	if limit <= 0 {
		limit = DefaultMaxTracked
	}
	return &Tracker{
		limit:  limit,
		open:   make(map[uint64]tracked),
		closed: make(map[uint64]struct{}),
	}
}

// BeginPass starts a pass over the open connections. A pass that was begun and not
// ended does not count.
func (t *Tracker) BeginPass() {
	t.passing = true
	t.seen = 0
	t.forgetClosed()
}

// EndPass ends a complete pass and forgets the connections that were missing in this
// and several passes before: their close was lost. It returns how many.
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

// Live takes a look at an open connection. Beyond the limit it gives the zero Delta,
// and everything is added when the connection closes.
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
	}
	return last.delta(l.ReceivedBytes, l.TransmittedBytes)
}

// Closed takes the last look at a connection and forgets it.
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
	return last.delta(c.ReceivedBytes, c.TransmittedBytes)
}

func (t *Tracker) forgetClosed() {
	clear(t.closed)
	t.closedFull = false
}

// delta never goes below zero: the kernel counts a FIN as one byte, and the close
// takes it back.
func (t tracked) delta(received, transmitted uint64) Delta {
	return Delta{
		Received:    received - min(received, t.received),
		Transmitted: transmitted - min(transmitted, t.transmitted),
	}
}
