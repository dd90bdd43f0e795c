// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/order"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// receive takes the bytes of a segment, and what came too early and follows them.
func (t *Engine) receive(c *Conn, s *stream.Segment) {
	d := s.Direction
	h := &c.halves[d]
	chunk := stream.Chunk{
		Sequence: s.Sequence, Acknowledgment: s.Acknowledgment, Skipped: s.Skipped, Time: s.Time, Data: s.Data,
	}
	if !h.Known {
		h.StartAt(s.Sequence)
	}
	turn := h.order.Take(s, h.Next)
	switch ahead := stream.Before(h.Next, s.Sequence); {
	case s.Frames && turn >= order.Unknown && len(s.Data) > 0 && stream.Before(s.Sequence, h.Next):
		t.passedWrongly(c, d, s.Sequence)
	case ahead && turn == order.Now:
		t.passedOver(c, d, s.Sequence, s.Time)
	case ahead && s.Frames && turn == order.Unknown:
		h.GiveUp(t.pool, (*reader)(c), d, s.Sequence)
	case ahead && h.state == stateLost:
		h.SkipTo(t.pool, s.Sequence)
	}
	if len(s.Data) > 0 {
		kept := h.Take(t.pool, (*reader)(c), d, &chunk)
		h.CountOverlaps(t.figures)
		if !kept && s.Frames {
			t.noRoom(c, s)
			turn = order.Now
		}
	}
	switch {
	case !s.Frames:
		t.follow(c, d, s)
	case turn != order.Later && !s.More:
		t.goOn(c, d)
	}
}

// follow has the kernel side follow the frames of a direction, if all that it saw was read up to
// where a frame begins. Bodies that are wanted need other bytes than it would copy.
func (t *Engine) follow(c *Conn, d stream.Direction, s *stream.Segment) {
	h := &c.halves[d]
	if len(s.Data) == 0 {
		return
	}
	atFrame := h.state == stateFrames && !h.inFrame && h.have == 0 && h.Next == s.Sequence+uint32(len(s.Data))+s.Left
	if !atFrame || h.guessed || d == stream.ToServer && c.doubt || c.port.Port != (stream.Port{}) {
		return
	}
	t.options.Follow(&c.key, d, h.Next)
	// From then on what does not cross is DATA, and an acknowledgment of it proves no loss.
	h.followed = t.options.Follows(&c.key, d)
}

// widen has the kernel side let cross more than a few heads need, until it follows the frames. Else
// DATA that comes faster than user space reads hides where the next frame begins.
func (t *Engine) widen(c *Conn) {
	if c.port.Port != (stream.Port{}) {
		return // nobody will follow, and what crosses is bounded by what is wanted of bodies
	}
	for d := range stream.Directions {
		t.options.Widen(&c.key, d)
	}
}

// reader is a connection as stream.Side calls it.
type reader Conn

// Read implements stream.Reader.
func (r *reader) Read(d stream.Direction, chunk stream.Chunk) { r.engine.read((*Conn)(r), d, &chunk) }

// Gap implements stream.Reader.
func (r *reader) Gap(d stream.Direction, to uint32) { r.engine.gap((*Conn)(r), d, to) }

// drain reads what waits for bytes that never come.
func (c *Conn) drain() {
	for d := range c.halves {
		c.halves[d].Drain(c.engine.pool, (*reader)(c), stream.Direction(d))
	}
}

// read takes bytes in order. Each step reads some of them, or changes the state.
func (t *Engine) read(c *Conn, d stream.Direction, chunk *stream.Chunk) {
	h := &c.halves[d]
	for len(chunk.Data) > 0 {
		n := t.step(c, d, chunk)
		chunk.Data = chunk.Data[n:]
		chunk.Sequence += uint32(n)
		chunk.Skipped += uint32(n)
		if stream.Before(h.Next, chunk.Sequence) {
			h.Next = chunk.Sequence
		}
	}
	t.ahead(c, d)
}

func (t *Engine) step(c *Conn, d stream.Direction, chunk *stream.Chunk) int {
	h := &c.halves[d]
	switch {
	case h.state == statePreface:
		return t.readPreface(c, chunk)
	case h.state == stateLost && d == stream.ToServer && chunk.Skipped == 0 && bytes.HasPrefix(chunk.Data, []byte(frame.Preface)):
		// HTTP/2 begins behind an upgrade that was missed: the client's table is empty.
		h.table.Renew()
		h.state, c.stray = statePreface, false
		return 0
	case h.state == stateLost:
		// Programs write whole frames, so a segment often begins with one.
		if chunk.Skipped == 0 && c.resumes(d, chunk.Data) {
			c.stray = c.stray && d != stream.ToServer
			h.state, h.guessed = stateFrames, d == stream.ToClient
			return 0
		}
		return len(chunk.Data)
	case h.state == stateBroken, h.state == stateClosed:
		return len(chunk.Data)
	case h.inFrame:
		return t.readPayload(c, d, chunk)
	}
	n := copy(h.head[h.have:], chunk.Data)
	if h.have += n; h.have == frame.HeadBytes {
		h.have = 0
		t.beginFrame(c, d, chunk)
	}
	return n
}

func (t *Engine) readPreface(c *Conn, chunk *stream.Chunk) int {
	h := &c.halves[stream.ToServer]
	n := min(len(chunk.Data), len(frame.Preface)-h.have)
	if string(chunk.Data[:n]) != frame.Preface[h.have:h.have+n] {
		h.have = 0
		t.lose(c, stream.ToServer)
		return 0
	}
	if h.have += n; h.have == len(frame.Preface) {
		h.state, h.have = stateFrames, 0
	}
	return n
}

// beginFrame takes the head of a frame.
func (t *Engine) beginFrame(c *Conn, d stream.Direction, chunk *stream.Chunk) {
	h := &c.halves[d]
	h.frame = frame.Parse(&h.head)
	f := &h.frame
	if d == stream.ToServer && t.doubts(c, f) {
		return
	}
	h.inFrame, h.remaining, h.before, h.padding = true, f.Length, f.Before(), 0
	h.paddingLengthComes = f.IsPadded()
	switch {
	case h.open && (f.Kind != frame.Continuation || f.Stream != h.of):
		// Only a continuation may follow an unfinished block.
		t.lostBlock(c, d)
	case f.Kind == frame.Continuation && !h.open:
		h.begin(f, chunk.Time)
		h.spoiled = true
	case f.Kind == frame.Headers, f.Kind == frame.PushPromise:
		h.begin(f, chunk.Time)
	}
	if t.isLeaving(c, d) {
		c.leaving.Begin()
	}
	if f.Kind == frame.Data && f.Length > 0 {
		t.bodyBegins(c, d, f, chunk.Time)
	}
	if h.remaining == 0 {
		t.endFrame(c, d, chunk.Time)
	}
}

// isLeaving tells whether the frame is a GOAWAY of the server. Where frames begin at a guess, it may be
// a part of somebody's body, and would end the requests of others.
func (t *Engine) isLeaving(c *Conn, d stream.Direction) bool {
	h := &c.halves[d]
	return d == stream.ToClient && h.frame.Kind == frame.GoAway && !h.guessed
}

// readPayload takes bytes of a frame's payload.
func (t *Engine) readPayload(c *Conn, d stream.Direction, chunk *stream.Chunk) int {
	h := &c.halves[d]
	data := chunk.Data[:min(len(chunk.Data), int(h.remaining))]
	n := len(data)
	switch {
	case h.before > 0:
		if h.paddingLengthComes {
			h.padding, h.paddingLengthComes = uint32(data[0]), false
			n = 1
		} else {
			n = min(n, int(h.before))
		}
		h.before -= uint32(n)
	case h.remaining <= h.padding:
	default:
		n = min(n, int(h.remaining-h.padding))
		t.content(c, d, data[:n], chunk.Time)
	}
	if h.remaining -= uint32(n); h.remaining == 0 {
		t.endFrame(c, d, chunk.Time)
	}
	return n
}

// content takes bytes of a payload, without what is around them.
func (t *Engine) content(c *Conn, d stream.Direction, data []byte, now int64) {
	h := &c.halves[d]
	switch {
	case h.frame.Kind == frame.Data:
		if p := c.calls[h.frame.Stream]; p != nil {
			p.message[d].Content(t.pool, data, now, c.port.bound(d))
		}
	case h.frame.IsBlock():
		h.add(t.pool, data)
	case t.isLeaving(c, d):
		c.leaving.Read(data)
	}
}

// endFrame ends a frame. Its last byte passed at a time, 0 if nobody saw when.
func (t *Engine) endFrame(c *Conn, d stream.Direction, now int64) {
	h := &c.halves[d]
	f := h.frame
	h.inFrame = false
	switch {
	case f.Kind == frame.Data:
		if p := c.calls[f.Stream]; p != nil && f.Has(frame.EndStream) {
			t.ended(c, p, d, now)
		}
	case f.IsBlock() && f.Has(frame.EndHeaders):
		t.endBlock(c, d, now)
	case f.Kind == frame.RSTStream:
		if p := c.calls[f.Stream]; p != nil {
			t.resetCall(c, p, d, now)
		}
	case t.isLeaving(c, d):
		t.leave(c, now)
	}
}

// ahead passes over what of DATA nobody wants, and tells the kernel side.
func (t *Engine) ahead(c *Conn, d stream.Direction) {
	h := &c.halves[d]
	if h.state == stateFrames && h.inFrame && h.before == 0 && t.passable(c, d) {
		n := h.remaining
		if h.frame.Has(frame.EndStream) {
			// When it ends matters, so its last byte is wanted.
			n--
		}
		if n > stream.TellEvery {
			t.pass(c, d, min(n, stream.MaxAhead))
			h.Tell(&t.options, &c.key, d)
		}
	}
	if int32(h.Next-h.Told) > stream.TellEvery {
		h.Tell(&t.options, &c.key, d)
	}
}

// passable reports whether nobody wants the rest of a payload.
func (t *Engine) passable(c *Conn, d stream.Direction) bool {
	h := &c.halves[d]
	if h.remaining == 0 || h.frame.Kind != frame.Data {
		return false
	}
	p := c.calls[h.frame.Stream]
	return p == nil || !p.message[d].Wants(c.port.bound(d))
}

// pass counts bytes of a payload that are not read.
func (t *Engine) pass(c *Conn, d stream.Direction, n uint32) {
	h := &c.halves[d]
	content := min(n, h.remaining-min(h.remaining, h.padding))
	h.remaining -= n
	switch p := c.calls[h.frame.Stream]; {
	case h.frame.Kind == frame.Data && p != nil:
		m := &p.message[d]
		m.BodyBytes += int64(content)
		m.BodyCut = m.BodyCut || c.port.bound(d) > 0
	case h.frame.IsBlock():
		h.spoiled = true
	}
	h.before = 0
	h.SkipTo(t.pool, h.Next+n)
}

func (p *port) bound(d stream.Direction) int {
	if d == stream.ToServer {
		return p.RequestBody
	}
	return p.AnswerBody
}
