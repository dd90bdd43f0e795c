// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// fault ends a handshake in which something is no TLS. Before a hello it is a dialogue.
func (t *Engine) fault(c *Conn, d stream.Direction, now int64) {
	if c.state.begun {
		t.finish(c, tls.OutcomeOther, sideOf(d), now)
		return
	}
	h := &c.halves[d]
	h.phase, h.left, h.messages = phaseDialogue, 0, 0
	if c.state.dialogue--; c.state.dialogue < 0 {
		t.giveUp(c)
	}
}

// alert takes an alert in clear.
func (t *Engine) alert(c *Conn, d stream.Direction, now int64) {
	h, st := &c.halves[d], c.state
	if !st.begun {
		return
	}
	level, alert := h.alert[0], tls.Alert(h.alert[1])
	if alert == tls.AlertClose && !st.alerted {
		t.ended(c, sideOf(d), tls.OutcomeClosed)
		return
	}
	if !st.alerted {
		st.alert, st.alerted, st.alertBy = alert, true, sideOf(d)
	}
	// Up to TLS 1.2 a warning may be ignored.
	if level == tls.AlertFatal || isThirteen(st.version) {
		t.refused(c, now)
	}
}

// refused ends a handshake with an alert. In TLS 1.3 most alerts behind the ServerHello are
// encrypted. The few in clear are told, but count like the others: as a closed connection.
func (t *Engine) refused(c *Conn, now int64) {
	outcome := tls.OutcomeAlert
	if st := c.state; st.answered != 0 && isThirteen(st.version) {
		outcome = tls.OutcomeClosed
	}
	t.finish(c, outcome, c.state.alertBy, now)
}

// ended ends a handshake because its connection ended.
func (t *Engine) ended(c *Conn, by tls.Side, outcome tls.Outcome) {
	st := c.state
	switch {
	case st.small:
		by = tls.SideServer
	case st.sent > 0 && st.finished == 0:
		by = tls.SideClient
	}
	silent := st.offered && st.answered == 0 && !st.retried && !st.alerted
	switch {
	case st.alerted:
		t.refused(c, t.now)
	case st.finished != 0 && !st.small && by == tls.SideClient:
		t.finish(c, tls.OutcomeCompleted, tls.SideUnknown, st.finished)
	case silent && by == tls.SideClient:
		t.finish(c, tls.OutcomeNoAnswer, by, t.now)
	default:
		t.finish(c, outcome, by, t.now)
	}
}

// idle ends a handshake in which nobody says anything any more.
func (t *Engine) idle(c *Conn) {
	st := c.state
	switch {
	case st.finished != 0 && !st.small:
		t.finish(c, tls.OutcomeCompleted, tls.SideUnknown, st.finished)
	case st.offered && st.answered == 0 && !st.retried:
		t.finish(c, tls.OutcomeNoAnswer, tls.SideServer, t.now)
	default:
		t.finish(c, tls.OutcomeNoAnswer, tls.SideClient, t.now)
	}
}

// giveUp rests a connection without a handshake.
func (t *Engine) giveUp(c *Conn) {
	c.state.begun = false
	t.finish(c, tls.OutcomeUnknown, tls.SideUnknown, t.now)
}

// finish reports a handshake, if there was one. Then nothing more is wanted of the connection.
func (t *Engine) finish(c *Conn, outcome tls.Outcome, by tls.Side, now int64) {
	st := c.state
	c.state = nil
	if st.begun {
		h := &t.out
		*h = tls.Handshake{
			Connection: c.Connection, Offered: st.offered, Hello: st.hello, Retried: st.retried,
			Answered: st.answered, Version: st.version, Cipher: st.cipher, Protocol: st.protocol,
			Resumed: st.resumed, ResumedKnown: st.resumedKnown,
			Outcome: outcome, By: by, Alert: st.alert, Alerted: st.alerted, Began: st.began, Ended: now,
		}
		if st.offered {
			h.JA4 = st.ja4[:]
			if st.hasJA3 {
				h.JA3 = st.ja3[:]
			}
		}
		t.report(h)
	}
	t.pool.Put(st.memory)
	t.pool.Put(st.protocol)
	t.pool.Release(stateSize)
	if t.spareStates < maxSpare {
		*st = state{nextFree: t.freeStates}
		t.freeStates = st
		t.spareStates++
	}
	t.rest(c)
}
