// SPDX-License-Identifier: Apache-2.0

// Package http1 follows connections that speak HTTP/1.x. It pairs requests with answers, and
// reports them.
//
// An answer alone is not followed behind its head. Its body can't be measured, because the
// answer to HEAD gives a length and has no body.
package http1

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/queue"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Bounds.
const (
	// maxHeadBytes bounds how much of a head is searched for what precedes it.
	maxHeadBytes = 64 << 10
	// maxSpare is how many connections that have ended are kept for reuse.
	maxSpare = 256
)

// Engine has what connections share. It is for one goroutine.
type Engine struct {
	options   stream.Options
	pool      *stream.Pool
	figures   *stream.Figures
	report    func(*request.Exchange)
	ports     map[uint16]*stream.Port
	freeConns *Conn
	// out and parsed are reused.
	out    request.Exchange
	parsed syntax.Head
	key    stream.Key
	now    int64
	// spareConns is how many connections are kept for reuse.
	spareConns int
	spare      queue.Spare
}

// New makes an engine. It counts in figures, and report takes its exchanges.
func New(options stream.Options, pool *stream.Pool, figures *stream.Figures, report func(*request.Exchange)) *Engine {
	return &Engine{options: options, pool: pool, figures: figures, report: report, ports: map[uint16]*stream.Port{}}
}

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
		Connection: *on, engine: t,
		evidence: evidence.Join(), retransmits: -1,
	}
	c.port = t.port(on.Server.Port())
	for d := range c.halves {
		c.halves[d].state = stateLost
	}
	t.begin(c, s)
	return c
}

// begin sets where the streams begin, as far as a first segment says.
func (t *Engine) begin(c *Conn, s *stream.Segment) {
	c.origin = s.Sequence
	if !s.Begins || s.Direction != stream.ToServer {
		c.begun = true
		return
	}
	c.evidence = evidence.Begin()
	c.retransmits = 0
	if s.First != 0 {
		c.origin = s.First
	}
	server, client := &c.halves[stream.ToServer], &c.halves[stream.ToClient]
	server.state, client.state = stateHead, stateHead
	server.StartAt(c.origin)
	client.StartAt(s.Acknowledgment)
}

func (t *Engine) port(number uint16) *stream.Port {
	p := t.ports[number]
	if p == nil {
		p = new(t.options.Ports(number))
		t.ports[number] = p
	}
	return p
}

// Segment takes a segment of a connection. It reports whether the connection is over.
func (c *Conn) Segment(on *request.Connection, s *stream.Segment) bool {
	t := c.engine
	t.now, c.seen = s.Time, s.Time
	c.Learn(on)
	if s.Joined {
		t.tellAgain(c)
	}
	if s.Direction == stream.ToClient && s.Retransmits >= 0 {
		c.retransmits = s.Retransmits
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

// Sweep gives up waiting for missing bytes, and for answers if nothing was seen since idle.
// It reports whether the connection is over.
func (c *Conn) Sweep(now, idle int64) bool {
	t := c.engine
	t.now = now
	for d := range c.halves {
		c.halves[d].GiveUpLate(t.pool, (*reader)(c), stream.Direction(d), now)
	}
	if c.seen < idle {
		t.idle(c)
	}
	t.settle(c)
	return c.over
}

// End reports what is under way, and forgets the connection.
func (c *Conn) End() {
	t := c.engine
	c.drain()
	t.abandon(c)
	for d := range c.halves {
		c.halves[d].CountOverlaps(t.figures)
		c.halves[d].Drop(t.pool)
	}
	t.pool.Let(connSize)
	if t.spareConns < maxSpare {
		c.nextFree, t.freeConns = t.freeConns, c
		t.spareConns++
	}
}

// Origin is the number of the first byte to the server that was seen.
func (c *Conn) Origin() uint32 { return c.origin }

// pending makes an exchange that begins; nil if there is no room for it.
func (t *Engine) pending(c *Conn) *queue.Turn {
	if c.turns.IsFull() {
		t.options.Lost(stream.LossDepth, 1)
		return nil
	}
	if !t.pool.Reserve(queue.Size) {
		t.options.Lost(stream.LossBudget, 1)
		return nil
	}
	p := t.spare.Get()
	p.Retransmits = c.retransmits
	c.turns.Append(p)
	return p
}

// release forgets an exchange.
func (t *Engine) release(c *Conn, p *queue.Turn) {
	c.remove(p)
	p.Empty(t.pool)
	t.pool.Release(queue.Size)
	t.spare.Put(p)
}
