// SPDX-License-Identifier: Apache-2.0

// Package http2 follows connections that speak HTTP/2 in clear text, gRPC among them. Each
// stream is a request with its answer, so pairs need no proof: both directions name the
// stream, and numbers are never used twice (RFC 9113, section 5.1.1).
//
// # Frames
//
// Where the next frame begins is known only from the one before. After a hole in what is not
// DATA, a direction is lost, until a segment consists of whole frames.
//
// # Header compression
//
// Each direction has a table of fields that earlier blocks built (RFC 7541). On a connection
// that is older than its inspection, and after a lost block, its entries are unknown. The table
// is then filled with empty entries: what was inserted since resolves, and what is older is
// absent. It is never another field's value.
package http2

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/fields"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/message"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Bounds.
const (
	// maxCalls is how many streams of a connection can be under way.
	maxCalls = 1024
	// maxBlockBytes bounds a header block on the wire.
	maxBlockBytes = 64 << 10
	// maxWhole is up to which size the kernel side copies DATA that ends a stream, as MOST_WHOLE
	// in bpf/inspect/frames.h.
	maxWhole = 64 << 10
	// knownHead is of how much of a frame's head the kernel side knows length, type and flags.
	knownHead = 5
)

// Engine has what connections share. It is for one goroutine.
type Engine struct {
	options   stream.Options
	pool      *stream.Pool
	figures   *stream.Figures
	report    func(*request.Exchange)
	ports     map[uint16]*port
	freeConns *Conn
	freeCalls *call
	// out is reused. into takes the fields of the block that is decoded, by take.
	out  request.Exchange
	into *message.Message
	take fields.Take
	now  int64
}

// port is a server's port.
type port struct {
	stream.Port
	active int
}

// New makes an engine. It counts in figures, and report takes its exchanges.
func New(options stream.Options, pool *stream.Pool, figures *stream.Figures, report func(*request.Exchange)) *Engine {
	t := &Engine{options: options, pool: pool, figures: figures, report: report, ports: map[uint16]*port{}}
	t.take = t.field
	return t
}

func (t *Engine) port(number uint16) *port {
	p := t.ports[number]
	if p == nil {
		p = &port{Port: t.options.Ports(number)}
		t.ports[number] = p
	}
	return p
}

// Begin makes a connection that begins with a segment; nil if there is no room for its tables.
func (t *Engine) Begin(on *request.Connection, s *stream.Segment) *Conn {
	c := t.make(on)
	if c == nil {
		return nil
	}
	if c.origin = s.Sequence; s.Begins {
		t.fresh(c, s)
	} else {
		c.unseen.problem, c.doubt = request.ProblemNoRequest, true
		c.halves[stream.ToServer].table.Forget(t.pool)
		c.halves[stream.ToClient].table.Forget(t.pool)
	}
	return c
}

// make makes a connection of which nothing is known; nil if there is no room for its tables.
func (t *Engine) make(on *request.Connection) *Conn {
	if !t.pool.Reserve(connectionSize) {
		t.options.Lost(stream.LossBudget, 1)
		return nil
	}
	c := t.freeConns
	if c == nil {
		c = &Conn{calls: map[uint32]*call{}}
	} else {
		t.freeConns = c.nextFree
	}
	*c = Conn{
		Connection: *on, engine: t, key: stream.Key{Flow: on.Flow, NetNS: on.NetNS},
		calls: c.calls, retransmits: -1,
	}
	c.port = t.port(on.Server.Port())
	for d := range c.halves {
		c.halves[d] = half{state: stateLost}
	}
	return c
}

// fresh makes a connection ready whose first bytes are known: both tables are empty. The server
// may speak first.
func (t *Engine) fresh(c *Conn, s *stream.Segment) {
	answers := s.Acknowledgment
	if s.Direction == stream.ToClient {
		c.origin, answers = s.Acknowledgment, s.Sequence
	}
	if s.First != 0 {
		c.origin = s.First
	}
	c.retransmits = 0
	for d, first := range [...]uint32{stream.ToServer: c.origin, stream.ToClient: answers} {
		t.known(c, stream.Direction(d), first)
	}
	c.halves[stream.ToServer].state = statePreface
}
