// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"time"
	"unsafe"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls/follow"
)

// Protocols are those that are looked for on a server's port.
type Protocols struct{ HTTP, TLS bool }

// TLS says what becomes of handshakes.
type TLS struct {
	// IdleTimeout is after how long without a segment a handshake counts as given up.
	IdleTimeout time.Duration
	// Report takes a handshake, which is reused after the call.
	Report func(*tls.Handshake)
	// Lost counts handshakes that were not followed.
	Lost func(reason Loss, n int)
}

func (o *Options) protocols(port uint16) Protocols {
	if o.Protocols == nil {
		return Protocols{HTTP: true}
	}
	return o.Protocols(port)
}

// newTLS makes the engine that follows handshakes.
func (t *Table) newTLS(shared stream.Options) *follow.Engine {
	report := t.options.TLS.Report
	if report == nil {
		report = func(*tls.Handshake) {}
	}
	if shared.Lost = t.options.TLS.Lost; shared.Lost == nil {
		shared.Lost = func(Loss, int) {}
	}
	return follow.New(shared, t.pool, &t.figures, report)
}

// speaksTLS decides whether TLS begins on a connection. Where HTTP is looked for, too, the first
// byte decides.
func (t *Table) speaksTLS(on *request.Connection, s *stream.Segment) bool {
	protocols := t.options.protocols(on.Server.Port())
	return protocols.TLS && (!protocols.HTTP || tls.BeginsRecord(s.Data))
}

// handshakes reports whether a connection is followed for its handshake alone, or was.
func (c *conn) handshakes() bool {
	switch c.talk.(type) {
	case *follow.Conn, *told:
		return true
	default:
		return false
	}
}

// noRoom counts a connection that there was no room for.
func (t *Table) noRoom(on *request.Connection, s *stream.Segment) {
	lost := t.options.Lost
	if t.speaksTLS(on, s) && t.options.TLS.Lost != nil {
		lost = t.options.TLS.Lost
	}
	lost(LossBudget, 1)
}

// displace ends the connection that was silent for longest. A handshake under way is reported
// then, so it is not lost.
func (t *Table) displace() {
	if !t.oldest.handshakes() {
		t.options.Lost(LossTable, 1)
	}
	t.over(t.oldest)
}

// told is a connection whose handshake was told. All that is left of it is what answers
// segments that were on their way then. The kernel side goes on to know that nothing is wanted.
type told struct {
	table  *Table
	origin uint32
	// since is when the handshake was told, ahead up to where nothing is wanted.
	since int64
	ahead [stream.Directions]uint32
	ended [stream.Directions]bool
}

const toldSize = int(unsafe.Sizeof(told{}))

// afterwards acts on what a protocol said of a connection.
func (t *Table) afterwards(c *conn, over bool, now int64) {
	if over {
		t.over(c)
		return
	}
	if f, ok := c.talk.(*follow.Conn); ok && f.Told() {
		q := &told{table: t, origin: f.Origin(), since: now}
		q.ahead, q.ended = f.Ends()
		f.End()
		// It is smaller than what was given back.
		t.pool.Hold(toldSize)
		c.talk = q
	}
}

// Segment implements talk.
func (q *told) Segment(on *request.Connection, s *stream.Segment) bool {
	d := s.Direction
	q.quiet(on, d, s.Sequence+uint32(len(s.Data)), s.Joined)
	if s.Joined {
		q.quiet(on, d.Reverse(), s.Acknowledgment, true)
	}
	q.ended[d] = q.ended[d] || s.FIN
	return s.RST || q.ended[stream.ToServer] && q.ended[stream.ToClient]
}

// quiet tells the kernel side that nothing behind a number is wanted, unless it knows.
func (q *told) quiet(on *request.Connection, d stream.Direction, end uint32, again bool) {
	if again || int32(q.ahead[d]-end) < stream.MaxAhead/2 {
		q.ahead[d] = end + stream.MaxAhead
		q.table.options.Want(&Key{Flow: on.Flow, NetNS: on.NetNS}, d, q.ahead[d])
	}
}

// Sweep implements talk.
func (q *told) Sweep(int64, int64) bool { return false }

// late reports whether no segment can be on its way any more.
func (q *told) late(now int64) bool { return now-q.since > stream.HoleTime }

// UnderWay implements talk.
func (q *told) UnderWay(func(*request.Exchange)) {}

// End implements talk.
func (q *told) End() { q.table.pool.Let(toldSize) }

// Origin implements talk.
func (q *told) Origin() uint32 { return q.origin }
