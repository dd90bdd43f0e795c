// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// passedOver handles DATA before a number that did not cross, because the kernel side follows the frames. Its
// streams go on, and how many bytes each had is unknown.
func (t *Engine) passedOver(c *Conn, d stream.Direction, to uint32, when int64) {
	h := &c.halves[d]
	if w, waits := h.Waiting(); waits && stream.Before(w.Sequence, to) || h.crossesWhole() {
		h.GiveUp(t.pool, (*reader)(c), d, to)
		return
	}
	if h.state == stateFrames && h.inFrame {
		t.pass(c, d, min(h.remaining, to-h.Next))
		if h.remaining == 0 {
			now := int64(0)
			if h.Next == to && h.frame.Length <= maxWhole {
				now = when
			}
			t.endFrame(c, d, now)
		}
	}
	h.have = 0
	if !stream.Before(h.Next, to) {
		return
	}
	for p := c.first; p != nil; p = p.next {
		m := &p.message[d]
		m.Unsized = m.Unsized || m.HeadDone && !m.Done
		m.BodyCut = m.BodyCut || c.port.bound(d) > 0
	}
	h.SkipTo(t.pool, to)
}

// crossesWhole reports whether what comes next is inside a frame that crosses whole, so that a hole there
// is a loss. Two processors that pass segments inside of it can give them one number.
func (h *half) crossesWhole() bool {
	f := h.frame
	switch {
	case h.state != stateFrames:
		return false
	case !h.inFrame && h.have < knownHead:
		return false
	case !h.inFrame:
		f = frame.Parse(&h.head)
	}
	return (f.Kind != frame.Data || f.Has(frame.EndStream)) && f.Length <= maxWhole
}

// passedWrongly handles bytes that cross and were passed over: the kernel side gave two segments one number.
// What was read behind them may mean something else by the table of fields, so it is given up. What was
// reported meanwhile can't be helped.
func (t *Engine) passedWrongly(c *Conn, d stream.Direction, from uint32) {
	highest := uint32(0) // of those that began before the bytes, as far as that is known
	for p := c.first; p != nil; p = p.next {
		m := &p.message[d]
		switch {
		case p.read[d] == 0:
		case !stream.Before(from, p.read[d]):
			highest = max(highest, p.id)
		default:
			m.Empty(t.pool)
			m.Cut, p.problem = true, request.ProblemMissed
			p.alone = p.alone || d == stream.ToServer
		}
	}
	if c.halves[d].state != stateFrames {
		return
	}
	t.figures.Gaps++
	t.lose(c, d)
	if d == stream.ToServer {
		c.unseen.from = min(c.unseen.from, highest)
	}
}

// noRoom gives up what is missing up to the end of a segment that could not be kept. Else its bytes would
// pass for DATA once those before it are here.
func (t *Engine) noRoom(c *Conn, s *stream.Segment) {
	h := &c.halves[s.Direction]
	h.GiveUp(t.pool, (*reader)(c), s.Direction, s.Sequence+uint32(len(s.Data)))
	h.order.SkipTo(s)
}

// goOn reads the segments that came too early, now that the one before them was seen to its end.
func (t *Engine) goOn(c *Conn, d stream.Direction) {
	h := &c.halves[d]
	for {
		next, ok := h.order.Next()
		if !ok {
			return
		}
		if stream.Before(h.Next, next.Begin) {
			t.passedOver(c, d, next.Begin, next.Time)
		}
		h.ReadOn(t.pool, (*reader)(c), d)
		if !next.Ended {
			return
		}
	}
}
