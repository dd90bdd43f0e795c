// SPDX-License-Identifier: Apache-2.0

// Package follow follows TLS connections until their handshake has ended, and reports how it
// did. What comes behind is encrypted, so nothing of it is wanted.
//
// # When a handshake is complete
//
// Up to TLS 1.2 both sides send a Finished message behind their ChangeCipherSpec. In TLS 1.3
// all messages behind the ServerHello are encrypted. The client's Finished is larger than an
// alert, so the client has finished if it sent more bytes than those of an alert. That the
// server accepts this is seen by what it sends next, if that is larger than an alert too: a
// session ticket or data. A connection that the client closes first, behind its Finished and
// without such a record, counts as completed: the client is content. One that the server
// closes first does not. A side whose last record is no larger than an alert ended the
// handshake, whoever closes first. What the alert says is not known.
//
// # Clear text first
//
// A connection may begin in clear text, such as those with STARTTLS or a header of the PROXY
// protocol. The hello is looked for where a segment begins, within a bound.
package follow

import (
	"unsafe"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// Bounds.
const (
	// maxMessage is the size of the largest hello that is kept.
	maxMessage = 64 << 10
	// maxDialogue is how many bytes of clear text may precede a hello, maxJoined how many on a
	// connection whose beginning was not seen: it is likely that its hello has passed.
	maxDialogue = 64 << 10
	maxJoined   = 2 << 10
	// maxSpare is how many connections and handshakes that have ended are kept for reuse.
	maxSpare = 256
)

// Engine has what connections share. It is for one goroutine.
type Engine struct {
	options    stream.Options
	pool       *stream.Pool
	figures    *stream.Figures
	report     func(*tls.Handshake)
	prints     tls.Fingerprints
	freeConns  *Conn
	freeStates *state
	// hello, answer and out are reused.
	hello  tls.Hello
	answer tls.Answer
	out    tls.Handshake
	now    int64
	// spareConns and spareStates are how many of each are kept for reuse.
	spareConns, spareStates int
}

// New makes an engine. It counts in figures, and report takes its handshakes.
func New(options stream.Options, pool *stream.Pool, figures *stream.Figures, report func(*tls.Handshake)) *Engine {
	return &Engine{options: options, pool: pool, figures: figures, report: report}
}

// Conn is one connection.
type Conn struct {
	request.Connection
	engine *Engine
	key    stream.Key
	// state is nil once nothing more is wanted.
	state  *state
	halves [stream.Directions]half
	// origin is the number of the first byte to the server that was seen.
	origin uint32
	seen   int64
	// ender is who ended the connection first.
	ender    tls.Side
	over     bool
	nextFree *Conn
}

// state is a handshake under way.
type state struct {
	// memory has what is kept of the hello, and ja3 and ja4 its fingerprints.
	memory   []byte
	hello    tls.Hello
	protocol []byte
	ja3      [tls.JA3Size]byte
	ja4      [tls.JA4Size]byte
	hasJA3   bool
	// begins: the first bytes are known, and no header of the PROXY protocol was read. Until then
	// memory has what of it came.
	begins bool
	// dialogue are bytes of clear text that may still precede a hello.
	dialogue int
	// begun: a hello begins. offered: it was read. answered: the server chose.
	begun, offered, retried bool
	began, answered         int64
	version, cipher         uint16
	// full: the server sent what a resumed handshake lacks.
	full, resumed, resumedKnown bool
	alert                       tls.Alert
	alerted                     bool
	alertBy                     tls.Side
	// sent are encrypted bytes of the client behind the ServerHello, finished when they were
	// enough for its Finished. small: the server's next record was no larger than an alert.
	sent     int
	finished int64
	small    bool
	nextFree *state
}

const stateSize = int(unsafe.Sizeof(state{}))

// connSize is what a connection takes, with the allocator's rounding.
const connSize = int(unsafe.Sizeof(Conn{})) * 9 / 8

// Begin makes a connection that begins with a segment; nil if there is no room for it.
func (t *Engine) Begin(on *request.Connection, s *stream.Segment) *Conn {
	if !t.pool.Hold(connSize) {
		return nil
	}
	c := t.freeConns
	if c == nil {
		c = &Conn{}
	} else {
		t.freeConns = c.nextFree
		t.spareConns--
	}
	*c = Conn{
		Connection: *on, engine: t, key: stream.Key{Flow: on.Flow, NetNS: on.NetNS},
		origin: s.Sequence,
	}
	answered := s.Acknowledgment
	switch {
	case s.Direction == stream.ToClient:
		c.origin, answered = s.Acknowledgment, s.Sequence
	case s.First != 0:
		c.origin = s.First
	}
	c.halves[stream.ToServer].StartAt(c.origin)
	c.halves[stream.ToClient].StartAt(answered)
	if !t.pool.Reserve(stateSize) {
		t.options.Lost(stream.LossBudget, 1)
		t.rest(c)
		return c
	}
	if c.state = t.freeStates; c.state == nil {
		c.state = &state{}
	} else {
		t.freeStates = c.state.nextFree
		t.spareStates--
	}
	*c.state = state{dialogue: maxJoined}
	if s.Begins {
		c.state.begins, c.state.dialogue = true, maxDialogue
	}
	return c
}

// Segment takes a segment of a connection. It reports whether the connection is over.
func (c *Conn) Segment(on *request.Connection, s *stream.Segment) bool {
	t := c.engine
	t.now, c.seen = s.Time, s.Time
	c.Learn(on)
	if s.Joined {
		t.tellAgain(c, s)
	}
	if !s.RST {
		t.acknowledge(c, s)
	}
	t.receive(c, s)
	if s.RST {
		t.reset(c, s)
	} else {
		t.closing(c, s)
	}
	return c.over
}

// Sweep gives up waiting for missing bytes, and for the other side if nothing was seen since
// idle. It reports whether the connection is over.
func (c *Conn) Sweep(now, idle int64) bool {
	t := c.engine
	t.now = now
	for d := range c.halves {
		c.halves[d].GiveUpLate(t.pool, (*reader)(c), stream.Direction(d), now)
	}
	switch {
	case c.state == nil:
	case c.ender != tls.SideUnknown && now-c.seen > stream.HoleTime:
		// The last bytes never came.
		t.finish(c, tls.OutcomeUnknown, tls.SideUnknown, now)
	case c.seen < idle:
		t.idle(c)
	}
	t.settle(c)
	return c.over
}

// End reports what is under way, and forgets the connection.
func (c *Conn) End() {
	t := c.engine
	if st := c.state; st != nil {
		outcome := tls.OutcomeUnknown
		if st.finished != 0 && !st.small {
			outcome = tls.OutcomeCompleted
		}
		t.finish(c, outcome, tls.SideUnknown, t.now)
	}
	for d := range c.halves {
		c.halves[d].Drop(t.pool)
	}
	t.pool.Let(connSize)
	if t.spareConns < maxSpare {
		c.nextFree, t.freeConns = t.freeConns, c
		t.spareConns++
	}
}

// Told reports whether nothing more is wanted of the connection.
func (c *Conn) Told() bool { return c.state == nil }

// Ends is up to where the kernel side knows that nothing is wanted, and which directions have
// ended.
func (c *Conn) Ends() (ahead [stream.Directions]uint32, ended [stream.Directions]bool) {
	for d := range c.halves {
		ahead[d], ended[d] = c.halves[d].Told, c.halves[d].HasFin
	}
	return ahead, ended
}

// UnderWay yields nothing: a connection of TLS has no requests.
func (c *Conn) UnderWay(func(*request.Exchange)) {}

// UnderWayHandshake reports whether a handshake has begun and not ended.
func (c *Conn) UnderWayHandshake() bool { return c.state != nil && c.state.begun }

// Origin is the number of the first byte to the server that was seen.
func (c *Conn) Origin() uint32 { return c.origin }
