// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/message"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Upgrade makes a connection that spoke HTTP/1 before. The request that was sent so is stream 1,
// whose client has ended it (RFC 7540, section 3.2). Frames begin at the numbers of next; the
// client's follow its preface. It returns nil if there is no room.
func (t *Engine) Upgrade(e *request.Exchange, next [stream.Directions]uint32, retransmits int64) *Conn {
	c := t.make(&e.Connection)
	if c == nil {
		return nil
	}
	c.origin, c.highest, c.retransmits = next[stream.ToServer], 1, retransmits
	for d, first := range next {
		t.known(c, stream.Direction(d), first)
	}
	c.halves[stream.ToServer].state = statePreface
	t.widen(c)
	if p := t.call(c, 1); p != nil {
		t.adopt(c, &p.message[stream.ToServer], e)
	}
	return c
}

// adopt takes a request of HTTP/1.
func (t *Engine) adopt(c *Conn, m *message.Message, e *request.Exchange) {
	m.Adopt(t.pool, t.options.HeadBytes, e)
	if e.Request.BodyBytes <= 0 {
		return
	}
	m.BodyBytes, m.BodyCut = e.Request.BodyBytes, e.Request.BodyCut
	if !m.Keep(t.pool, e.Request.Body) {
		m.BodyCut = c.port.bound(stream.ToServer) > 0
	}
}

// known says where the frames of a direction begin whose table is empty.
func (t *Engine) known(c *Conn, d stream.Direction, first uint32) {
	h := &c.halves[d]
	h.StartAt(first)
	h.state = stateFrames
	h.order.Begin()
	h.table.Renew()
}
