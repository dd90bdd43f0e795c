// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// HandshakeSeen implements fact.Sink.
func (o *Observer) HandshakeSeen(h *tls.Handshake) {
	o.facts++
	process, source := o.owners.ofConnection(h.Owner, h.NetNS, h.Server)
	if o.metrics != nil {
		o.metrics.Handshake(seriesOfRequests(h.NetNS, h.Server.Port(), process), h)
	}
	o.ledger.Produce(ledger.Handshake, 1)
	o.enter(ledger.Handshake, o.logs != nil && o.logs.Handshake(o.handshakes.Of(h), process, source))
}
