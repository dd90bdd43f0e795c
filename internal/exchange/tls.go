// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls/follow"
)

// Protocols are those that are looked for on a server's port.
type Protocols struct{ HTTP, TLS bool }

// TLS says what becomes of handshakes.
type TLS struct {
	// IdleTimeout is after how long without a segment a handshake counts as given up.
	IdleTimeout time.Duration
	// Report takes a handshake, which is reused after the call.
	Report func(*tls.Handshake)
	// Lost counts handshakes that were not followed.
	Lost func(reason Loss, n int)
}

func (o *Options) protocols(port uint16) Protocols {
	if o.Protocols == nil {
		return Protocols{HTTP: true}
	}
	return o.Protocols(port)
}

// newTLS makes the engine that follows handshakes.
func (t *Table) newTLS(shared stream.Options) *follow.Engine {
	report := t.options.TLS.Report
	if report == nil {
		report = func(*tls.Handshake) {}
	}
	if shared.Lost = t.options.TLS.Lost; shared.Lost == nil {
		shared.Lost = func(Loss, int) {}
	}
	return follow.New(shared, t.pool, &t.figures, report)
}

// speaksTLS decides whether TLS begins on a connection. Where HTTP is looked for, too, the first
// byte decides.
func (t *Table) speaksTLS(on *request.Connection, s *stream.Segment) bool {
	protocols := t.options.protocols(on.Server.Port())
	return protocols.TLS && (!protocols.HTTP || tls.BeginsRecord(s.Data))
}

// handshakes reports whether a connection is followed for its handshake alone.
func (c *conn) handshakes() bool {
	_, handshake := c.talk.(*follow.Conn)
	return handshake
}

// displace ends the connection that was silent for longest. A handshake under way is reported
// then, so it is not lost.
func (t *Table) displace() {
	if !t.oldest.handshakes() {
		t.options.Lost(LossTable, 1)
	}
	t.over(t.oldest)
}
