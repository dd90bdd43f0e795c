// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

// SourceSeen implements fact.Sink.
func (o *Observer) SourceSeen(s *source.Source) {
	o.facts++
	o.ledger.Produce(ledger.Source, 1)
	o.enter(ledger.Source, o.logs != nil && o.logs.Source(o.views.Source(s), nil))
}

// ServiceSeen implements fact.Sink.
func (o *Observer) ServiceSeen(s *source.Service) {
	o.facts++
	process, _ := o.owners.ofServer(s.NetNS, s.Address)
	o.ledger.Produce(ledger.Service, 1)
	o.enter(ledger.Service, o.logs != nil && o.logs.Source(o.views.Service(s), process))
}

// NamespaceSeen implements fact.Sink.
func (o *Observer) NamespaceSeen(n *source.Namespace) {
	o.facts++
	o.ledger.Produce(ledger.Service, 1)
	if o.metrics != nil {
		o.metrics.Namespace(n)
	}
	o.enter(ledger.Service, o.logs != nil && o.logs.Source(o.views.Namespace(n), nil))
}
