// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"unsafe"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http1"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls/follow"
)

// maxBehind is how far behind the first byte of a connection a segment can be that belongs
// to it, though the kernel side saw it begin.
const maxBehind = 1 << 20

// Table has the connections. It is for one goroutine.
type Table struct {
	options Options
	pool    *stream.Pool
	figures stream.Figures
	http1   *http1.Engine
	http2   *http2.Engine
	tls     *follow.Engine
	conns   map[place]*conn
	// last saves the look-up: an answer often follows its request.
	last *conn
	// segment is the one that a protocol is reading.
	segment *stream.Segment
	// busy is the connection that a protocol is working on.
	busy *conn
	// newest and oldest are the ends of the list of connections, by their last segment.
	newest, oldest, free *conn
	// spare is how many are free.
	spare int
}

// entrySize is what an entry takes: itself, and its share of the map, which doubles.
const entrySize = int(unsafe.Sizeof(conn{})) + 2*int(unsafe.Sizeof(place{})+unsafe.Sizeof(&conn{}))

// maxSpare is how many entries are kept for reuse.
const maxSpare = 256

// conn is an entry of the table.
type conn struct {
	place        place
	talk         talk
	newer, older *conn
}

// New makes a table.
func New(options Options) *Table {
	options.defaults()
	t := &Table{options: options, pool: stream.NewPool(options.MaxBytes), conns: map[place]*conn{}}
	options.Passed = t.passed
	t.http1 = http1.New(options.Options, t.pool, &t.figures, options.Report)
	t.http2 = http2.New(options.Options, t.pool, &t.figures, options.Report)
	t.tls = t.newTLS(options.Options)
	return t
}

// Figures returns what the table counts.
func (t *Table) Figures() Figures {
	return Figures{Figures: t.figures, Connections: len(t.conns), Bytes: t.pool.Lent() + t.pool.Held()}
}

// UnderWay calls yield with each request that has begun and not ended, which is reused after
// the call.
func (t *Table) UnderWay(yield func(*request.Exchange)) {
	for c := t.oldest; c != nil; c = c.newer {
		c.talk.UnderWay(yield)
	}
}

// Connections is how many there are.
func (t *Table) Connections() int { return len(t.conns) }

// Segment takes a segment. What the connection says of itself replaces what was known.
func (t *Table) Segment(on *request.Connection, s *stream.Segment) {
	c := t.find(on, s)
	if c == nil {
		return
	}
	t.touch(c)
	t.segment, t.busy = s, c
	over := c.talk.Segment(on, s) || t.upgrade(c, on, s)
	t.segment, t.busy = nil, nil
	t.afterwards(c, over, s.Time)
}

// passed returns the end and the time of bytes that passed and did not cross: those that the
// present segment acknowledges, or the last.
func (t *Table) passed(key *Key, d stream.Direction) (end uint32, when int64) {
	if s := t.segment; s != nil && s.AcknowledgedTime != 0 && s.Direction != d {
		return s.Acknowledgment, s.AcknowledgedTime
	}
	return t.options.Passed(key, d)
}

// find returns the connection of a segment; nil if the segment needs none.
func (t *Table) find(on *request.Connection, s *stream.Segment) *conn {
	at := placeOf(on)
	c := t.last
	if c == nil || c.place != at {
		c = t.conns[at]
	}
	if c != nil && t.another(c, s) {
		t.over(c)
		c = nil
	}
	switch {
	case c != nil:
		t.last = c
		return c
	case s.RST || len(s.Data) == 0:
		if (s.RST || s.FIN) && t.options.protocols(on.Server.Port()).TLS {
			// The kernel side may know it still, because its handshake was told.
			key := at.key()
			t.options.Forget(&key)
		}
		return nil
	}
	t.last = t.enter(at, on, s)
	return t.last
}

// touch moves a connection to the newest end of the list.
func (t *Table) touch(c *conn) {
	if t.newest == c {
		return
	}
	t.unlink(c)
	c.older = t.newest
	if t.newest != nil {
		t.newest.newer = c
	}
	t.newest = c
	if t.oldest == nil {
		t.oldest = c
	}
}

func (t *Table) unlink(c *conn) {
	if c.newer != nil {
		c.newer.older = c.older
	}
	if c.older != nil {
		c.older.newer = c.newer
	}
	if t.oldest == c {
		t.oldest = c.newer
	}
	if t.newest == c {
		t.newest = c.older
	}
	c.newer, c.older = nil, nil
}

// over ends a connection.
func (t *Table) over(c *conn) {
	t.busy = c
	c.talk.End()
	t.busy = nil
	key := c.place.key()
	t.options.Forget(&key)
	t.leave(c)
}

// leave takes the entry of a connection out, whose talk has ended.
func (t *Table) leave(c *conn) {
	c.talk = nil
	t.unlink(c)
	delete(t.conns, c.place)
	t.last = nil
	t.pool.Let(entrySize)
	if t.spare < maxSpare {
		c.older, t.free = t.free, c
		t.spare++
	}
}

// Sweep reports requests that waited too long, and gives up waiting for missing bytes. Call
// it about once a second.
func (t *Table) Sweep(now int64) {
	for c := t.oldest; c != nil; {
		next := c.newer
		idle := now - int64(t.options.IdleTimeout)
		if c.handshakes() {
			idle = now - int64(t.options.TLS.IdleTimeout)
		}
		t.busy = c
		if q, ok := c.talk.(*told); ok && q.late(now) {
			q.End()
			t.leave(c)
			t.busy = nil
		} else {
			over := c.talk.Sweep(now, idle)
			t.busy = nil
			t.afterwards(c, over, now)
		}
		c = next
	}
}

// Finish reports all that is under way, and forgets all connections.
func (t *Table) Finish() {
	for t.oldest != nil {
		t.over(t.oldest)
	}
}
