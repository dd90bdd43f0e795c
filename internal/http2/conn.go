// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"unsafe"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/fields"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/order"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// state is what a direction expects next.
type state uint8

const (
	// statePreface is the client's preface.
	statePreface state = iota
	stateFrames
	// stateLost is anything: where the next frame begins is unknown.
	stateLost
	// stateBroken is a connection whose blocks can't be decoded. Nothing more of it is read.
	stateBroken
	// stateClosed is after a FIN.
	stateClosed
)

// half is one direction of a connection.
type half struct {
	stream.Side
	state state
	// head are the first bytes of a frame's head, or the count of those of the preface.
	head [frame.HeadBytes]byte
	have int
	// frame is the frame whose payload is being read, if inFrame is set. remaining are the
	// bytes of it that follow, before those ahead of the content, and padding those behind.
	frame              frame.Head
	inFrame            bool
	remaining, before  uint32
	padding            uint32
	paddingLengthComes bool

	block
	table fields.Table
	// followed is set while the kernel side follows the frames: DATA that is not wanted does
	// not cross, and nothing else is missing. guessed is set while nothing proves that frames of
	// answers begin where they were found again.
	followed, guessed bool
	order             order.Order
}

// Conn is one connection.
type Conn struct {
	request.Connection
	engine *Engine
	key    stream.Key
	port   *port
	halves [stream.Directions]half
	// calls are the streams under way, by number; first to last in the order of their requests.
	calls       map[uint32]*call
	first, last *call
	// highest is the highest number of a stream that a request began.
	highest uint32
	// answered is the highest number of a stream that an answer began. doubt: where frames to
	// the server begin is not proven. stray: since it was found again, blocks were read that may
	// be none.
	answered uint32
	doubt    bool
	stray    bool
	unseen   unseen
	// leaving is what the server says before it goes away.
	leaving frame.Leaving
	origin  uint32
	// ender is why requests are not answered, by who acted first.
	ender request.Problem
	// retransmits is the last known count, -1 if unknown.
	retransmits int64
	seen        int64
	over        bool
	nextFree    *Conn
}

// connectionSize is what the two tables of a connection take, with the connection itself.
const connectionSize = 2*2*fields.DefaultTable + int(unsafe.Sizeof(Conn{}))

// Segment takes a segment of a connection. It reports whether the connection is over.
func (c *Conn) Segment(on *request.Connection, s *stream.Segment) bool {
	t := c.engine
	t.now, c.seen = s.Time, s.Time
	c.halves[s.Direction].followed = s.Frames
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
		h := &c.halves[d]
		h.CountOverlaps(t.figures)
		t.pool.Put(h.bytes)
		h.table.Drop(t.pool)
		h.bytes = nil
		h.Drop(t.pool)
	}
	t.pool.Release(connectionSize)
	c.nextFree, t.freeConns = t.freeConns, c
}

// Origin is the number of the first byte to the server that was seen.
func (c *Conn) Origin() uint32 { return c.origin }

// tellAgain tells both directions, after the kernel side forgot them.
func (t *Engine) tellAgain(c *Conn) {
	for d := range c.halves {
		if h := &c.halves[d]; h.Known {
			h.Tell(&t.options, &c.key, stream.Direction(d))
		}
	}
}
