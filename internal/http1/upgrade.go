// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/queue"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Upgrade is a request that the server accepts to answer by HTTP/2 (RFC 7540, section 3.2).
type Upgrade struct {
	// Exchange has the request, and no answer.
	Exchange *request.Exchange
	// Next are the numbers of the first bytes of HTTP/2.
	Next [stream.Directions]uint32
	// Retransmits is the count when the request began; -1 if unknown.
	Retransmits int64
}

// upgrades reports whether a request and the head of its answer, which has the status 101, change
// to HTTP/2. The request then waits for HandOver.
func (t *Engine) upgrades(c *Conn, p *queue.Turn) bool {
	asked := &p.Message[stream.ToServer]
	only := p.Ordered && p.Upgrade && asked.Done && c.turns.First == p && p.Next == nil
	if h := &c.halves[stream.ToServer]; !only || h.msg != nil || h.state != stateHead {
		return false
	}
	m := &p.Message[stream.ToClient]
	e := t.renew(c)
	m.Fill(&e.Answer, 0)
	if !request.EqualFold(e.Answer.Field("upgrade"), "h2c") {
		return false
	}
	c.upgrade = p
	for d := range c.halves {
		c.halves[d].state, c.halves[d].msg = stateOpaque, nil
		c.upgradeAt[d] = c.halves[d].Next
	}
	return true
}

// Upgraded reports whether HTTP/2 follows. HandOver and End are next, and no segment.
func (c *Conn) Upgraded() bool { return c.upgrade != nil }

// HandOver gives away the request after which the connection speaks HTTP/2, for the call.
func (c *Conn) HandOver(take func(*Upgrade)) {
	p, t := c.upgrade, c.engine
	e := t.renew(c)
	p.FillRequest(e)
	take(&Upgrade{Exchange: e, Next: c.upgradeAt, Retransmits: p.Retransmits})
	c.upgrade = nil
	t.release(c, p)
}
