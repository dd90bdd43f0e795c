// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http1"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// begin hands a connection to the protocol that its first bytes speak; nil if there is no room.
func (t *Table) begin(on *request.Connection, s *stream.Segment) talk {
	switch {
	case t.speaksTLS(on, s):
		if c := t.tls.Begin(on, s); c != nil {
			return c
		}
	case speaksHTTP2(s):
		if c := t.http2.Begin(on, s); c != nil {
			return c
		}
		return ignored{s.Sequence}
	default:
		if c := t.http1.Begin(on, s); c != nil {
			return c
		}
	}
	return nil
}

// enter makes an entry for a connection. It displaces others as long as there is no room; nil if
// there is none then.
func (t *Table) enter(at place, on *request.Connection, s *stream.Segment) *conn {
	for len(t.conns) >= max(t.options.MaxConnections, 1) || !t.pool.Hold(entrySize) {
		if t.oldest == nil {
			t.noRoom(on, s)
			return nil
		}
		t.displace()
	}
	talk := t.begin(on, s)
	for ; talk == nil && t.oldest != nil; talk = t.begin(on, s) {
		t.displace()
	}
	if talk == nil {
		t.noRoom(on, s)
		talk = ignored{s.Sequence}
	}
	c := t.free
	if c == nil {
		c = &conn{}
	} else {
		t.free = c.older
		t.spare--
	}
	*c = conn{place: at, talk: talk}
	t.conns[at] = c
	return c
}

// another reports whether a segment belongs to another connection than an entry with its
// addresses, or to another protocol: a client may upgrade from HTTP/1 to HTTP/2.
func (t *Table) another(c *conn, s *stream.Segment) bool {
	if s.Begins && s.Joined && s.Sequence-c.talk.Origin() > maxBehind {
		return true
	}
	before, ok := c.talk.(*http1.Conn)
	return ok && s.Sequence != before.Origin() && s.Direction == stream.ToServer &&
		bytes.HasPrefix(s.Data, []byte(frame.Preface)) && before.MayEndBefore(s.Sequence)
}

// upgrade gives a connection to HTTP/2 if it left HTTP/1 for that in a segment, and the rest of
// the segment with it. It reports whether the connection is over.
func (t *Table) upgrade(c *conn, on *request.Connection, s *stream.Segment) bool {
	before, ok := c.talk.(*http1.Conn)
	if !ok || !before.Upgraded() {
		return false
	}
	var after talk = ignored{before.Origin()}
	before.HandOver(func(u *http1.Upgrade) {
		if next := t.http2.Upgrade(u.Exchange, u.Next, u.Retransmits); next != nil {
			after = next
		}
	})
	before.End()
	c.talk = after
	return after.Segment(on, s)
}

// enough of the preface: no method of HTTP/1 begins like it.
const enough = len("PRI * ")

// speaksHTTP2 reports whether a connection that begins with a segment speaks HTTP/2.
func speaksHTTP2(s *stream.Segment) bool {
	if s.Direction == stream.ToServer && bytes.HasPrefix(s.Data, []byte(frame.Preface)) {
		return true
	}
	if s.Begins && s.Direction == stream.ToClient {
		return s.Frames // a server that speaks first
	}
	if s.Begins {
		return len(s.Data) >= enough && bytes.HasPrefix([]byte(frame.Preface), s.Data[:min(len(s.Data), len(frame.Preface))])
	}
	return frame.Whole(s.Data)
}

// ignored is a connection that there was no room for. Its first byte has a number.
type ignored struct{ origin uint32 }

// Segment implements talk.
func (ignored) Segment(_ *request.Connection, s *stream.Segment) bool { return s.FIN || s.RST }

// Sweep implements talk.
func (ignored) Sweep(int64, int64) bool { return false }

// UnderWay implements talk.
func (ignored) UnderWay(func(*request.Exchange)) {}

// End implements talk.
func (ignored) End() {}

// Origin implements talk.
func (i ignored) Origin() uint32 { return i.origin }
