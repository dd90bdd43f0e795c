// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"unsafe"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/message"
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
	msg    *pending
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
	// first to last are the requests under way, in their order.
	first, last *pending
	depth       int32
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
	upgrade   *pending
	upgradeAt [stream.Directions]uint32
}

// pending is an exchange under way.
type pending struct {
	message [stream.Directions]message.Message
	next    *pending
	problem request.Problem
	// head and connect: the method decides about the body of the answer.
	head, connect, upgrade bool
	// expect: the client waits for 100 before it sends the body, or for the answer.
	expect bool
	// bare: the start line has no version. malformed: it could not be read.
	bare, malformed bool
	// several: the server may have seen several requests, and may answer each.
	several bool
	// alone: an answer without its request.
	alone bool
	// anchored: the request begins where a message can begin.
	anchored bool
	// ordered: the order made the pair.
	ordered bool
	// answerAt is where the answer begins, if the client waited for all before it.
	answerAt uint32
	// told: reported as idle already.
	told bool
	// switched: the connection leaves HTTP.
	switched bool
	// retransmits is the count when the request began.
	retransmits int64
	overlapped  int
}

// connSize is what a connection takes, with the allocator's rounding.
const connSize = int(unsafe.Sizeof(Conn{})) * 9 / 8

// key identifies the connection until the next call.
func (c *Conn) key() *stream.Key {
	t := c.engine
	t.key = stream.Key{Flow: c.Flow, NetNS: c.NetNS}
	return &t.key
}

// append puts an exchange behind the others under way.
func (c *Conn) append(p *pending) {
	if c.last == nil {
		c.first = p
	} else {
		c.last.next = p
	}
	c.last = p
	c.depth++
}

// remove takes an exchange out.
func (c *Conn) remove(p *pending) {
	var before *pending
	for at := &c.first; *at != nil; before, at = *at, &(*at).next {
		if *at != p {
			continue
		}
		*at = p.next
		if c.last == p {
			c.last = before
		}
		p.next = nil
		c.depth--
		break
	}
	for d := range c.halves {
		if c.halves[d].msg == p {
			c.halves[d].msg = nil
		}
	}
}

// unanswered is the first request whose answer has not begun.
func (c *Conn) unanswered() *pending {
	p := c.first
	for p != nil && p == c.halves[stream.ToClient].msg {
		p = p.next
	}
	return p
}

// MayEndBefore reports whether another protocol may begin with a byte to the server: it is in
// no request, whose body can hold anything.
func (c *Conn) MayEndBefore(sequence uint32) bool {
	h := &c.halves[stream.ToServer]
	return h.state == stateOpaque || h.msg == nil && !stream.Before(sequence, h.Next)
}
