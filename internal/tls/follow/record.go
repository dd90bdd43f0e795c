// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

type phase uint8

const (
	// phaseDialogue is clear text in which a hello may follow.
	phaseDialogue phase = iota
	phaseRecords
)

// half is one direction of a connection.
type half struct {
	stream.Side
	phase phase

	// head has the first bytes of the record's header, header what it says. left are bytes of
	// the record that follow.
	head   [tls.HeaderSize]byte
	heads  int
	header tls.Header
	left   int
	// message has the first bytes of a message's header, then kind and rest say what follows.
	message  [tls.MessageHeaderSize]byte
	messages int
	kind     uint8
	rest     int
	// body is what was read of a message that is kept.
	body []byte
	keep bool
	// alert has the bytes of an alert.
	alert  [tls.AlertSize]byte
	alerts int
	// changed: what follows is encrypted. finished: its first message was seen.
	changed, finished bool
}

func (h *half) empty(pool *stream.Pool) {
	pool.Put(h.body)
	h.body = nil
}

// skips reports whether the next bytes need not be read.
func (h *half) skips(n int) bool {
	if h.phase != phaseRecords || h.left < n {
		return false
	}
	return h.changed || h.header.Type == tls.RecordApplication ||
		h.header.Type == tls.RecordHandshake && h.messages == tls.MessageHeaderSize && !h.keep && h.rest >= n
}

// dialogue looks for a hello where a segment begins. It returns the bytes that follow what is
// no part of it.
func (t *Engine) dialogue(c *Conn, d stream.Direction, chunk *stream.Chunk, data []byte) []byte {
	st := c.state
	if d == stream.ToServer && tls.BeginsHello(data) {
		c.halves[d].phase = phaseRecords
		server := &c.halves[stream.ToClient]
		server.SkipTo(t.pool, chunk.Acknowledgment)
		st.began = chunk.Time
		return data
	}
	if d == stream.ToServer && st.begins && chunk.End()-uint32(len(data)) == c.origin+uint32(len(st.memory)) {
		if rest, ok := t.proxied(c, data); ok {
			return rest
		}
	}
	if st.dialogue -= len(data); st.dialogue < 0 {
		t.giveUp(c)
	}
	return nil
}

// proxied takes a header of the PROXY protocol from the first bytes to the server, which may be
// in several segments. It returns what follows, and reports whether the bytes are of a header.
func (t *Engine) proxied(c *Conn, data []byte) ([]byte, bool) {
	st, before := c.state, len(c.state.memory)
	head, stored := data, true
	if before > 0 {
		st.memory, stored = t.pool.Append(st.memory, data)
		head = st.memory
	}
	size, client, more := syntax.Proxy(head)
	if more && stored && before == 0 {
		st.memory, stored = t.pool.Append(nil, data)
	}
	if more && stored {
		return nil, true
	}
	t.pool.Put(st.memory)
	st.memory, st.begins = nil, false
	if !stored || size == 0 {
		return nil, false
	}
	c.Proxied = client
	return data[size-before:], true
}

// records reads a part of the records of a direction. It returns how much it read.
func (t *Engine) records(c *Conn, d stream.Direction, data []byte, now int64) int {
	h := &c.halves[d]
	if h.left == 0 {
		n := copy(h.head[h.heads:], data)
		if h.heads += n; h.heads < tls.HeaderSize {
			return n
		}
		var ok bool
		h.heads = 0
		if h.header, ok = tls.ParseHeader(h.head[:]); !ok {
			t.fault(c, d, now)
			return n
		}
		h.left = h.header.Length
		return n
	}
	part := data[:min(h.left, len(data))]
	switch {
	case h.changed:
	case h.header.Type == tls.RecordHandshake:
		t.messages(c, d, part, now)
	case h.header.Type == tls.RecordAlert:
		h.alerts += copy(h.alert[min(h.alerts, tls.AlertSize):], part)
	}
	if h.left == 0 {
		return len(part) // the message was none of TLS, and with it the record
	}
	if h.left -= len(part); h.left == 0 && c.state != nil {
		t.recordEnded(c, d, now)
	}
	return len(part)
}

// recordEnded acts on a record that was read.
func (t *Engine) recordEnded(c *Conn, d stream.Direction, now int64) {
	h, st := &c.halves[d], c.state
	switch h.header.Type {
	case tls.RecordChangeCipher:
		t.changeCipher(c, d)
	case tls.RecordAlert:
		if !h.changed && h.header.Length == tls.AlertSize {
			t.alert(c, d, now)
		}
		h.alerts = 0
	case tls.RecordHandshake:
		if h.changed && !h.finished {
			h.finished = true
			if c.halves[d.Reverse()].finished {
				t.finish(c, tls.OutcomeCompleted, tls.SideUnknown, now)
			}
		}
	case tls.RecordApplication:
		if st.answered != 0 && isThirteen(st.version) {
			t.encrypted(c, d, h.header.Length, now)
		}
	}
}

// changeCipher is the end of clear text up to TLS 1.2. In TLS 1.3 it means nothing.
func (t *Engine) changeCipher(c *Conn, d stream.Direction) {
	st := c.state
	if st.answered == 0 || isThirteen(st.version) {
		return
	}
	c.halves[d].changed = true
	if d == stream.ToClient {
		st.resumed, st.resumedKnown = !st.full, true
	}
}

const (
	// largestAlert is the size of an encrypted alert of TLS 1.3 without padding.
	largestAlert = 19
	// smallestFinished is that of the smallest Finished message.
	smallestFinished = 45
)

// encrypted counts a record of TLS 1.3.
func (t *Engine) encrypted(c *Conn, d stream.Direction, length int, now int64) {
	st := c.state
	switch {
	case d == stream.ToServer:
		if st.sent += length; st.sent >= smallestFinished && st.finished == 0 {
			st.finished = now
		}
	case st.finished == 0:
	case length > largestAlert:
		t.finish(c, tls.OutcomeCompleted, tls.SideUnknown, st.finished)
	default:
		st.small = true
	}
}

// messages reads a part of the handshake messages of a direction.
func (t *Engine) messages(c *Conn, d stream.Direction, part []byte, now int64) {
	h := &c.halves[d]
	for len(part) > 0 && c.state != nil {
		if h.messages < tls.MessageHeaderSize {
			n := copy(h.message[h.messages:], part)
			part = part[n:]
			if h.messages += n; h.messages < tls.MessageHeaderSize {
				continue
			}
			h.kind = h.message[0]
			h.rest = int(h.message[1])<<16 | int(h.message[2])<<8 | int(h.message[3])
			if !t.messageBegins(c, d, now) {
				return
			}
		}
		body := part[:min(h.rest, len(part))]
		part = part[len(body):]
		h.rest -= len(body)
		if h.keep {
			body = t.collect(h, body)
		}
		if h.rest == 0 {
			h.messages = 0
			t.message(c, d, body, now)
		}
	}
}

// messageBegins decides whether a message is kept. It reports false if it can't be what it
// seems.
func (t *Engine) messageBegins(c *Conn, d stream.Direction, now int64) bool {
	h, st := &c.halves[d], c.state
	if !st.begun {
		if h.kind != tls.MessageClientHello || d != stream.ToServer {
			t.fault(c, d, now)
			return false
		}
		st.begun = true
		c.halves[stream.ToClient].phase = phaseRecords
	}
	hello := d == stream.ToServer && h.kind == tls.MessageClientHello && !st.offered
	answer := d == stream.ToClient && h.kind == tls.MessageServerHello && st.answered == 0
	h.keep = (hello || answer) && h.rest <= maxMessage
	return true
}

// collect returns a message that may have come in parts: nil until it is complete.
func (t *Engine) collect(h *half, body []byte) []byte {
	if len(h.body) == 0 && h.rest == 0 {
		return body
	}
	var ok bool
	if h.body, ok = t.pool.Append(h.body, body); !ok {
		h.keep = false
		return nil
	}
	return h.body
}

// message acts on a message that was read.
func (t *Engine) message(c *Conn, d stream.Direction, body []byte, now int64) {
	h, st := &c.halves[d], c.state
	switch {
	case d == stream.ToServer:
		if h.keep {
			t.helloRead(c, body)
		}
	case h.kind == tls.MessageServerHello && h.keep:
		t.answerRead(c, body, now)
	case h.kind == tls.MessageServerHello && st.answered == 0:
		t.finish(c, tls.OutcomeUnknown, tls.SideUnknown, now)
	case tls.MessageCertificate <= h.kind && h.kind <= tls.MessageServerDone:
		st.full = true
	}
	h.keep = false
	h.empty(t.pool)
}

// helloRead keeps what a hello offers.
func (t *Engine) helloRead(c *Conn, body []byte) {
	st, hello := c.state, &t.hello
	if !tls.ParseHello(body, hello) {
		return
	}
	st.hasJA3 = len(t.prints.AppendJA3(st.ja3[:0], hello)) > 0
	t.prints.AppendJA4(st.ja4[:0], hello)
	st.offered = true
	st.hello = tls.Hello{Version: hello.Version, Named: hello.Named, EarlyData: hello.EarlyData}
	lists := []*[]byte{&st.hello.Name, &st.hello.Protocols, &st.hello.Versions}
	total := 0
	for i, from := range [...][]byte{hello.Name, hello.Protocols, hello.Versions} {
		*lists[i] = from
		total += len(from)
	}
	if st.memory = t.pool.Get(total); st.memory == nil {
		// The fingerprints are known all the same.
		st.hello.Name, st.hello.Protocols, st.hello.Versions = nil, nil, nil
		return
	}
	for _, list := range lists {
		begin := len(st.memory)
		st.memory = append(st.memory, *list...)
		*list = st.memory[begin:]
	}
}

// answerRead takes what the server chose.
func (t *Engine) answerRead(c *Conn, body []byte, now int64) {
	st, answer := c.state, &t.answer
	if !tls.ParseAnswer(body, answer) {
		t.fault(c, stream.ToClient, now)
		return
	}
	st.version = answer.Version
	if answer.Retry {
		st.retried = true
		return
	}
	st.answered, st.cipher = now, answer.Cipher
	if isThirteen(st.version) {
		st.resumed, st.resumedKnown = answer.PSK, true
		return
	}
	st.protocol, _ = t.pool.Append(nil, answer.Protocol)
}

// isThirteen reports whether a version encrypts what follows the ServerHello: TLS 1.3 and its
// drafts.
func isThirteen(version uint16) bool { return version > tls.Version12 }
