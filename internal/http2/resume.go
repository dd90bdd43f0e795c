// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Where frames begin is found again from what segments look like. A body can look the same: it
// may be anything, also HTTP/2. So what is found is not believed at once:
//
//   - A segment counts only if each of its frames can follow what is known of the streams.
//   - From then on, requests wait until the server answers on their streams. It answers nothing
//     that it does not take for a request. The first such answer proves the frames.
//   - A frame that nobody would send there ends the attempt.
//
// A request that waited and had no answer is not reported. It counts as lost. Its block may
// have put anything into the table of fields, so what later blocks meant by the table is unknown.

// resumes reports whether frames begin with a segment.
func (c *Conn) resumes(d stream.Direction, data []byte) bool {
	if !frame.Whole(data) {
		return false
	}
	low, high := uint32(1<<31), uint32(0) // streams that begin in the segment
	known := max(c.highest, c.answered)
	for len(data) >= frame.HeadBytes {
		f := frame.Parse((*[frame.HeadBytes]byte)(data))
		_, underWay := c.calls[f.Stream]
		odd := f.Stream%2 == 1
		begins := f.Kind == frame.Headers && odd && c.mayBegin(d, f.Stream)
		if begins {
			low, high = min(low, f.Stream), max(high, f.Stream)
		}
		switch {
		case f.Stream == 0, underWay, begins, low <= f.Stream && f.Stream <= high && odd:
		case f.Kind == frame.Data, f.Kind == frame.Headers, odd && f.Stream > known:
			return false
		}
		data = data[min(len(data), frame.HeadBytes+int(f.Length)):]
	}
	return true
}

// mayBegin reports whether a stream may begin in a direction.
func (c *Conn) mayBegin(d stream.Direction, id uint32) bool {
	if d == stream.ToServer {
		return id > c.highest
	}
	return c.unseen.has(id) || id > c.highest
}

// doubts ends an attempt to follow requests that is not proven, at a frame that can't follow.
func (t *Engine) doubts(c *Conn, f *frame.Head) bool {
	if !c.doubt || f.Kind == frame.Continuation && c.halves[stream.ToServer].open || f.Plausible() {
		return false
	}
	t.figures.Gaps++
	t.lose(c, stream.ToServer)
	t.dropHeld(c)
	return true
}

// prove takes an answer to a request that waited. The frames from there on are proven. Those
// before may have been anything.
func (t *Engine) prove(c *Conn, p *call) {
	if !p.held {
		return
	}
	clean := !c.stray
	for q := c.first; clean && q != p; q = q.next {
		clean = !q.held
	}
	t.trust(c, p, clean)
	if !c.doubt {
		return
	}
	for q := p.next; q != nil; q = q.next {
		if q.held {
			t.trust(c, q, clean)
		}
	}
	c.doubt = false
	t.widen(c)
	if !clean {
		c.halves[stream.ToServer].table.Forget(t.pool)
	}
}

// trust takes a request for one, and its fields as well if they are clean.
func (t *Engine) trust(c *Conn, p *call, clean bool) {
	p.held = false
	c.began(p.id)
	if !clean {
		p.message[stream.ToServer].Empty(t.pool)
		p.alone, p.problem = true, request.ProblemMissed
	}
}

// began notes that a stream began.
func (c *Conn) began(id uint32) {
	c.highest = max(c.highest, id)
	if c.unseen.problem != request.ProblemNone && c.unseen.to == 0 {
		c.unseen.to = id
	}
}

// dropHeld gives up the requests that wait for a proof.
func (t *Engine) dropHeld(c *Conn) {
	for p := c.first; p != nil; {
		next := p.next
		if p.held {
			t.finish(c, p, request.ProblemNone, t.now)
		}
		p = next
	}
}
