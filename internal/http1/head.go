// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/message"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/queue"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// readHead reads what belongs to the head of a message.
func (t *Engine) readHead(c *Conn, d stream.Direction, chunk *stream.Chunk) int {
	h := &c.halves[d]
	if h.unseen {
		h.unseen = false
		t.figures.Gaps++
		c.holed = true
		t.lose(c, d)
		return 0
	}
	if h.msg == nil {
		if d == stream.ToClient || c.begun {
			if n := syntax.Blank(chunk.Data); n > 0 {
				return n
			}
		}
		if !t.start(c, d, chunk) {
			return len(chunk.Data)
		}
	}
	if d == stream.ToServer && !c.begun {
		if n, done := t.proxy(c, chunk); !done {
			return n
		}
		if h.msg == nil {
			return 0
		}
	}
	p := h.msg
	m := &p.Message[d]
	if d == stream.ToClient && !m.MayAnswer(chunk.Data) {
		t.noAnswer(c, p, chunk)
		return 0
	}
	n, done, parsed := t.keepHead(h, m, d, chunk.Data)
	m.Ended = max(m.Ended, chunk.Time)
	m.End = chunk.Sequence + uint32(n)
	h.Next = m.End
	switch {
	case !done:
	case d == stream.ToServer:
		t.requestHead(c, p, parsed)
	default:
		t.answerHead(c, p, parsed)
	}
	return n
}

// keepHead keeps what of data belongs to a head. It returns the bytes of it, whether the head ends
// with them, and whether it was parsed, because it came whole.
func (t *Engine) keepHead(h *half, m *message.Message, d stream.Direction, data []byte) (n int, done, parsed bool) {
	if m.Size == 0 && h.end == (syntax.End{}) {
		if d == stream.ToServer {
			n = t.parsed.WholeRequest(data)
		} else {
			n = t.parsed.WholeAnswer(data)
		}
		if n > 0 {
			return n, true, m.KeepWhole(t.pool, data[:n], t.options.HeadBytes, &t.parsed)
		}
	}
	n, done = h.end.Find(data)
	m.Keep(t.pool, data[:n], t.options.HeadBytes)
	return n, done, false
}

// start begins a message. It reports false if it can't be followed.
func (t *Engine) start(c *Conn, d stream.Direction, chunk *stream.Chunk) bool {
	h := &c.halves[d]
	var p *queue.Turn
	if d == stream.ToServer {
		p = t.startRequest(c, chunk)
	} else {
		p = t.startAnswer(c, chunk)
	}
	if p == nil {
		t.lose(c, d)
		return false
	}
	h.msg, h.end = p, syntax.End{}
	m := &p.Message[d]
	m.Begin(chunk)
	return true
}

// proxy takes a header of the PROXY protocol from the first bytes to the server. It reports
// whether the head of a request can be read now, else how many bytes it took.
func (t *Engine) proxy(c *Conn, chunk *stream.Chunk) (int, bool) {
	h := &c.halves[stream.ToServer]
	p := h.msg
	m := &p.Message[stream.ToServer]
	before := len(m.Head)
	stored := m.Probe(t.pool, chunk.Data[:min(len(chunk.Data), maxHeadBytes)])
	size, client, more := syntax.Proxy(m.Head)
	if stored && more {
		return len(chunk.Data), false
	}
	c.begun = true
	if stored && size > 0 {
		c.Proxied = client
		t.release(c, p)
		return size - before, false
	}
	// It is none: what came before belongs to the head.
	m.Unprobe(before, syntax.Blank(m.Head[:before]))
	h.end.Find(m.Head)
	if len(m.Head) == 0 {
		if n := syntax.Blank(chunk.Data); n > 0 {
			t.release(c, p)
			return n, false
		}
	}
	return 0, true
}

// requestHead reads the head of a request.
func (t *Engine) requestHead(c *Conn, p *queue.Turn, parsed bool) {
	m := &p.Message[stream.ToServer]
	p.Read(&t.parsed, parsed)
	h := &c.halves[stream.ToServer]
	if p.Malformed && t.merged(c, p) {
		h.state, h.end = stateHead, syntax.End{}
		return
	}
	switch t.parsed.Framing {
	case syntax.Length:
		h.state, h.remaining = stateBody, t.parsed.Size
	case syntax.Chunked:
		h.state, h.chunks = stateChunks, syntax.Chunks{}
	default:
		t.ended(c, stream.ToServer, m.Ended)
	}
}

// merged drops a malformed request behind another one: it is the same garbage.
func (t *Engine) merged(c *Conn, p *queue.Turn) bool {
	for q := c.turns.First; q != nil; q = q.Next {
		if q.Next == p && q.Malformed {
			q.Several = true
			t.release(c, p)
			return true
		}
	}
	return false
}

// answerHead reads the head of an answer.
func (t *Engine) answerHead(c *Conn, p *queue.Turn, parsed bool) {
	h := &c.halves[stream.ToClient]
	m := &p.Message[stream.ToClient]
	if parsed && !t.parsed.Valid || !parsed && !m.ReadAnswer(&t.parsed) {
		t.badAnswer(c, p)
		return
	}
	if t.parsed.Status < 200 && t.parsed.Status != 101 {
		// An interim answer. Another follows.
		t.restart(h, p)
		return
	}
	m.HeadDone = true
	if !p.Ordered && !p.Alone {
		t.prove(c, p)
	}
	status := t.parsed.Status
	switch {
	case status == 101 && t.upgrades(c, p):
	case status == 101, p.Connect && status < 300:
		t.switched(c, p)
	case p.Alone:
		t.aloneHead(c, p)
	case p.Head, status == 204, status == 304:
		t.ended(c, stream.ToClient, m.Ended)
	default:
		t.answerBody(c, p)
	}
}

// restart makes ready for the answer behind an interim one.
func (t *Engine) restart(h *half, p *queue.Turn) {
	m := &p.Message[stream.ToClient]
	p.Expect = p.Expect && t.parsed.Status != 100
	p.AnswerAt = m.End
	m.Restart()
	h.msg, h.end = nil, syntax.End{}
}

func (t *Engine) answerBody(c *Conn, p *queue.Turn) {
	h := &c.halves[stream.ToClient]
	m := &p.Message[stream.ToClient]
	switch t.parsed.Framing {
	case syntax.None:
		t.ended(c, stream.ToClient, m.Ended)
	case syntax.Length:
		h.state, h.remaining = stateBody, t.parsed.Size
	case syntax.Chunked:
		h.state, h.chunks = stateChunks, syntax.Chunks{}
	case syntax.Invalid:
		p.Problem = request.ProblemMalformedAnswer
		h.state = stateClose
	default:
		h.state = stateClose
	}
}
