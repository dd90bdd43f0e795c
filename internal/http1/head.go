// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

const (
	// maxFrameLine and maxFrameLines bound what is kept of a head beyond its bound: the
	// lines that say where the body ends.
	maxFrameLine  = 128
	maxFrameLines = 512
)

// readHead reads what belongs to the head of a message.
func (t *Engine) readHead(c *Conn, d stream.Direction, chunk *stream.Chunk) int {
	h := &c.halves[d]
	if h.msg == nil {
		if d == stream.ToClient || c.begun {
			if n := blank(chunk.Data); n > 0 {
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
	m := &p.message[d]
	if d == stream.ToClient && !mayAnswer(m.head, chunk.Data) {
		t.noAnswer(c, p, chunk)
		return 0
	}
	n, done := h.end.Find(chunk.Data)
	t.keep(m, chunk.Data[:n])
	m.ended = max(m.ended, chunk.Time)
	m.end = chunk.Sequence + uint32(n)
	h.Next = m.end
	switch {
	case !done:
	case d == stream.ToServer:
		t.requestHead(c, p)
	default:
		t.answerHead(c, p)
	}
	return n
}

// blank counts the line breaks before a message.
func blank(data []byte) int {
	n := 0
	for n < len(data) && (data[n] == '\r' || data[n] == '\n') {
		n++
	}
	return n
}

// mayAnswer reports whether what came before and data can begin an answer.
func mayAnswer(before, data []byte) bool {
	const word = "HTTP/"
	if len(before) >= len(word) {
		return true
	}
	n := min(len(data), len(word)-len(before))
	return string(data[:n]) == word[len(before):len(before)+n]
}

// start begins a message. It reports false if it can't be followed.
func (t *Engine) start(c *Conn, d stream.Direction, chunk *stream.Chunk) bool {
	h := &c.halves[d]
	var p *pending
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
	m := &p.message[d]
	m.start, m.end, m.ack = chunk.Sequence, chunk.Sequence, chunk.Acknowledgment
	m.began, m.ended = chunk.Time, chunk.Time
	return true
}

// proxy takes a header of the PROXY protocol from the first bytes to the server. It reports
// whether the head of a request can be read now, else how many bytes it took.
func (t *Engine) proxy(c *Conn, chunk *stream.Chunk) (int, bool) {
	h := &c.halves[stream.ToServer]
	p := h.msg
	m := &p.message[stream.ToServer]
	before := len(m.head)
	var ok bool
	if m.head, ok = t.pool.Append(m.head, chunk.Data[:min(len(chunk.Data), maxHeadBytes)]); !ok {
		c.begun = true
		return 0, true
	}
	size, client, more := syntax.Proxy(m.head)
	if more {
		return len(chunk.Data), false
	}
	c.begun = true
	if size > 0 {
		c.Proxied = client
		t.release(c, p)
		return size - before, false
	}
	// It is none: what came before belongs to the head.
	m.head = m.head[:before]
	if n := blank(m.head); n > 0 {
		m.head = m.head[:copy(m.head, m.head[n:])]
	}
	m.kept, m.size = len(m.head), len(m.head)
	h.end.Find(m.head)
	if len(m.head) == 0 {
		if n := blank(chunk.Data); n > 0 {
			t.release(c, p)
			return n, false
		}
	}
	return 0, true
}

// keep stores what of a head its bound permits. Of what is beyond it stores only the lines
// that say where the body ends.
func (t *Engine) keep(m *message, data []byte) {
	m.size += len(data)
	if !m.cut {
		n := min(len(data), t.options.HeadBytes-m.kept)
		var ok bool
		if m.head, ok = t.pool.Append(m.head, data[:n]); !ok {
			m.cut, m.partial, m.skip = true, true, true
			m.line = len(m.head)
			return
		}
		m.kept += n
		if data = data[n:]; len(data) == 0 {
			return
		}
		t.cut(m)
	}
	for len(data) > 0 && !m.partial {
		line := data
		end := bytes.IndexByte(data, '\n')
		if end >= 0 {
			line = data[:end+1]
		}
		data = data[len(line):]
		t.frame(m, line, end >= 0)
	}
}

// cut ends what is kept of a head at its last whole line.
func (t *Engine) cut(m *message) {
	m.cut = true
	if end := bytes.LastIndexByte(m.head, '\n') + 1; end > 0 {
		m.kept, m.line = end, end
		return
	}
	// Not even the start line is whole.
	m.head, _ = t.pool.Append(m.head, []byte{'\n'})
	m.line, m.skip = len(m.head), true
}

// frame takes a part of a line beyond the bound.
func (t *Engine) frame(m *message, part []byte, ends bool) {
	if !m.skip {
		var ok bool
		switch {
		case len(m.head)-m.line+len(part) > maxFrameLine:
			m.skip = true
		case len(m.head) > t.options.HeadBytes+maxFrameLines:
			m.partial = true
		default:
			if m.head, ok = t.pool.Append(m.head, part); !ok {
				m.partial = true
			}
		}
	}
	if !ends {
		return
	}
	if m.skip || !syntax.Frames(m.head[m.line:]) {
		m.head = m.head[:m.line]
	}
	m.line, m.skip = len(m.head), false
}

// requestHead reads the head of a request.
func (t *Engine) requestHead(c *Conn, p *pending) {
	m := &p.message[stream.ToServer]
	t.parseRequest(p)
	h := &c.halves[stream.ToServer]
	if p.malformed && t.merged(c, p) {
		h.state, h.end = stateHead, syntax.End{}
		return
	}
	switch t.parsed.Framing {
	case syntax.Length:
		h.state, h.remaining = stateBody, t.parsed.Size
	case syntax.Chunked:
		h.state, h.chunks = stateChunks, syntax.Chunks{}
	default:
		if m.partial && !p.head && string(t.parsed.Method) != "GET" {
			m.done, m.unsized = true, true
			t.lose(c, stream.ToServer)
			return
		}
		t.ended(c, stream.ToServer, m.ended)
	}
}

// parseRequest learns from the head of a request what its answer needs.
func (t *Engine) parseRequest(p *pending) {
	m := &p.message[stream.ToServer]
	m.headDone = true
	ok := t.parsed.ParseRequest(m.head)
	p.bare = ok && !syntax.HasVersion(m.head)
	p.malformed = !ok || t.parsed.Framing == syntax.Invalid
	if p.malformed {
		p.problem = request.ProblemMalformedRequest
	}
	p.head = string(t.parsed.Method) == "HEAD"
	p.connect = string(t.parsed.Method) == "CONNECT"
	p.upgrade, p.expect = t.parsed.Upgrade, t.parsed.Expect
}

// merged drops a malformed request behind another one: it is the same garbage.
func (t *Engine) merged(c *Conn, p *pending) bool {
	for q := c.first; q != nil; q = q.next {
		if q.next == p && q.malformed {
			t.release(c, p)
			return true
		}
	}
	return false
}

// answerHead reads the head of an answer.
func (t *Engine) answerHead(c *Conn, p *pending) {
	h := &c.halves[stream.ToClient]
	m := &p.message[stream.ToClient]
	if !t.parsed.ParseAnswer(m.head) {
		t.badAnswer(c, p)
		return
	}
	if t.parsed.Status < 200 && t.parsed.Status != 101 {
		// An interim answer. Another follows.
		t.restart(h, p)
		return
	}
	m.headDone = true
	if !p.ordered && !p.alone {
		t.prove(c, p)
	}
	status := t.parsed.Status
	switch {
	case status == 101, p.connect && status < 300:
		t.switched(c, p)
	case p.alone:
		t.aloneHead(c, p)
	case p.head, status == 204, status == 304:
		t.ended(c, stream.ToClient, m.ended)
	default:
		t.answerBody(c, p)
	}
}

// restart makes ready for the answer behind an interim one.
func (t *Engine) restart(h *half, p *pending) {
	m := &p.message[stream.ToClient]
	p.expect = p.expect && t.parsed.Status != 100
	p.answerAt = m.end
	head := m.head
	*m = message{head: head[:0]}
	h.msg, h.end = nil, syntax.End{}
}

func (t *Engine) answerBody(c *Conn, p *pending) {
	h := &c.halves[stream.ToClient]
	m := &p.message[stream.ToClient]
	switch t.parsed.Framing {
	case syntax.None:
		t.ended(c, stream.ToClient, m.ended)
	case syntax.Length:
		h.state, h.remaining = stateBody, t.parsed.Size
	case syntax.Chunked:
		h.state, h.chunks = stateChunks, syntax.Chunks{}
	case syntax.Invalid:
		p.problem = request.ProblemMalformedAnswer
		h.state = stateClose
	default:
		h.state = stateClose
		if m.partial {
			h.state = stateLost
			c.proven = false
		}
	}
}
