// SPDX-License-Identifier: Apache-2.0

// Package queue has the requests of an HTTP/1 connection that are under way, in their order, and
// what of each decides about its answer.
package queue

import (
	"unsafe"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/message"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Bounds.
const (
	// MaxDepth is how many requests of a connection can be under way.
	MaxDepth = 1024
	// maxSpare is how many turns that have ended are kept for reuse.
	maxSpare = 256
)

// Turn is an exchange under way: a request and its answer, or one of them.
type Turn struct {
	Message [stream.Directions]message.Message
	// Next is the turn behind this one. Only Queue and Spare change it.
	Next    *Turn
	Problem request.Problem
	// Head and Connect: the method decides about the body of the answer. Upgrade: the request asks
	// for another protocol.
	Head, Connect, Upgrade bool
	// Expect: the client waits for 100 before it sends the body, or for the answer.
	Expect bool
	// Bare: the start line has no version. Malformed: it could not be read.
	Bare, Malformed bool
	// Several: the server may have seen several requests, and may answer each.
	Several bool
	// Alone: an answer without its request.
	Alone bool
	// Anchored: the request begins where a message can begin.
	Anchored bool
	// Ordered: the order made the pair.
	Ordered bool
	// AnswerAt is where the answer begins, if the client waited for all before it.
	AnswerAt uint32
	// Told: reported as idle already.
	Told bool
	// Switched: the connection leaves HTTP.
	Switched bool
	// Retransmits is the count when the request began; -1 if unknown.
	Retransmits int64
	// Overlapped are bytes that came again with another content.
	Overlapped int
}

// Size is what a turn takes without its buffers.
const Size = int(unsafe.Sizeof(Turn{}))

// Read learns from the head of a request what its answer needs. The head may be parsed already.
func (p *Turn) Read(parsed *syntax.Head, already bool) {
	m := &p.Message[stream.ToServer]
	m.HeadDone = true
	ok := parsed.Valid
	if !already {
		ok = m.ReadRequest(parsed)
	}
	p.Bare = ok && parsed.Version == request.VersionUnknown && !m.HasVersion()
	p.Malformed = !ok || parsed.Framing == syntax.Invalid
	if p.Malformed {
		p.Problem = request.ProblemMalformedRequest
	}
	p.Head = string(parsed.Method) == "HEAD"
	p.Connect = string(parsed.Method) == "CONNECT"
	p.Upgrade, p.Expect = parsed.Upgrade, parsed.Expect
}

// FillRequest writes what is known of the request.
func (p *Turn) FillRequest(e *request.Exchange) {
	m := &p.Message[stream.ToServer]
	if line, ok := m.RequestLine(); ok {
		e.Method, e.Target, e.Version = line.Method, line.Target, line.Version
	}
	m.Fill(&e.Request, 0)
	if m.HeadDone && !m.Done {
		e.Request.BodyBytes = -1
	}
}

// FillAnswer writes what is known of the answer, with so many bytes of its end.
func (p *Turn) FillAnswer(e *request.Exchange, tail int) {
	m := &p.Message[stream.ToClient]
	line := m.AnswerLine()
	e.Status = line.Status
	if e.Version == request.VersionUnknown {
		e.Version = line.Version
	}
	m.Fill(&e.Answer, tail)
}

// Empty gives back the buffers of a turn.
func (p *Turn) Empty(pool *stream.Pool) {
	for d := range p.Message {
		p.Message[d].Empty(pool)
	}
}

// Queue has turns in the order of their requests. The zero value is empty.
type Queue struct {
	// First is the oldest; nil if there is none.
	First *Turn
	last  *Turn
	depth int32
}

// IsFull reports whether there is no room for another turn.
func (q *Queue) IsFull() bool { return q.depth >= MaxDepth }

// Append puts a turn behind the others.
func (q *Queue) Append(p *Turn) {
	if q.last == nil {
		q.First = p
	} else {
		q.last.Next = p
	}
	q.last = p
	q.depth++
}

// Remove takes a turn out.
func (q *Queue) Remove(p *Turn) {
	var before *Turn
	for at := &q.First; *at != nil; before, at = *at, &(*at).Next {
		if *at != p {
			continue
		}
		*at = p.Next
		if q.last == p {
			q.last = before
		}
		p.Next = nil
		q.depth--
		return
	}
}

// Spare keeps turns that have ended, for reuse. The zero value has none.
type Spare struct {
	free *Turn
	n    int
}

// Get makes a turn that has nothing.
func (s *Spare) Get() *Turn {
	p := s.free
	if p == nil {
		return &Turn{}
	}
	s.free = p.Next
	s.n--
	*p = Turn{}
	return p
}

// Put takes a turn back that is in no queue, and whose buffers are empty.
func (s *Spare) Put(p *Turn) {
	if s.n < maxSpare {
		p.Next, s.free = s.free, p
		s.n++
	}
}
