// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls/follow"
)

// Forgotten counts the requests and handshakes that are lost with a table whose protocol failed:
// those that were under way, and one of the connection that failed, if none is known of it.
func (t *Table) Forgotten() (requests, handshakes int) {
	for c := t.oldest; c != nil; c = c.newer {
		if c.talk == nil {
			continue
		}
		n := c.underWay()
		if c == t.busy {
			n = max(n, 1)
		}
		if c.handshakes() {
			handshakes += n
		} else {
			requests += n
		}
	}
	if t.busy == nil {
		requests++ // it failed before it was in the table
	}
	return requests, handshakes
}

// underWay counts what a connection has under way, as far as it can still be asked.
func (c *conn) underWay() (n int) {
	defer func() {
		// Whatever its state is, what was counted until then is lost.
		_ = recover()
	}()
	if handshake, ok := c.talk.(*follow.Conn); ok {
		if handshake.UnderWayHandshake() {
			n++
		}
		return n
	}
	c.talk.UnderWay(func(*request.Exchange) { n++ })
	return n
}
