// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"unsafe"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/queue"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// state is what a direction expects next.
type state uint8

const (
	// stateHead is a message that begins, or is in its head.
	stateHead state = iota
	// stateBody is a body of a known length.
	stateBody
	// stateEnd is the end of a body that was passed over.
	stateEnd
	stateChunks
	// stateClose is a body until the connection ends.
	stateClose
	// stateOpaque is what is no HTTP any more.
	stateOpaque
	// stateLost is anything: where the next message begins is unknown.
	stateLost
	// stateClosed is after a FIN.
	stateClosed
)

// half is one direction of a connection.
type half struct {
	stream.Side
	state state
	// msg is the exchange whose message is being read; nil between messages, and if nobody
	// wants to know.
	msg    *queue.Turn
	end    syntax.End
	chunks syntax.Chunks
	// remaining are the bytes of the body behind Next.
	remaining int64
	// far is the highest end of a segment, which passed at farTime.
	far     uint32
	farTime int64
	// withhold: the client was answered before it sent the body that it had announced.
	withhold bool
	// unseen: the byte before Next was not seen. It may have been a FIN.
	unseen bool
}

// Conn is one connection.
type Conn struct {
	request.Connection
	engine *Engine
	port   *stream.Port
	halves [stream.Directions]half
	// turns are the requests under way.
	turns queue.Queue
	// evidence says what can be a pair.
	evidence evidence.Evidence
	// origin is the number of the first byte to the server that was seen.
	origin uint32
	// begun: the first bytes to the server were read. holed: bytes were missed that could
	// belong to a head.
	begun, holed bool
	// ender is why requests are not answered, by who acted first.
	ender request.Problem
	// retransmits is the last known count, -1 if unknown.
	retransmits int64
	seen        int64

	// over: nothing more will come.
	over     bool
	nextFree *Conn
	// upgrade is the request after which the connection speaks HTTP/2, from these numbers on.
	upgrade   *queue.Turn
	upgradeAt [stream.Directions]uint32
}

// connSize is what a connection takes, with the allocator's rounding.
const connSize = int(unsafe.Sizeof(Conn{})) * 9 / 8

// key identifies the connection until the next call.
func (c *Conn) key() *stream.Key {
	t := c.engine
	t.key = stream.Key{Flow: c.Flow, NetNS: c.NetNS}
	return &t.key
}

// remove takes an exchange out.
func (c *Conn) remove(p *queue.Turn) {
	c.turns.Remove(p)
	for d := range c.halves {
		if c.halves[d].msg == p {
			c.halves[d].msg = nil
		}
	}
}

// unanswered is the first request whose answer has not begun.
func (c *Conn) unanswered() *queue.Turn {
	p := c.turns.First
	for p != nil && p == c.halves[stream.ToClient].msg {
		p = p.Next
	}
	return p
}

// MayEndBefore reports whether another protocol may begin with a byte to the server: it is in
// no request, whose body can hold anything.
func (c *Conn) MayEndBefore(sequence uint32) bool {
	h := &c.halves[stream.ToServer]
	return h.state == stateOpaque || h.msg == nil && !stream.Before(sequence, h.Next)
}
