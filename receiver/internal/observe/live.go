// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
)

// BeginPass begins a pass over all open connections.
func (o *Observer) BeginPass() {
	if o.updates.On() {
		o.updates.BeginPass()
	}
	if o.metrics != nil {
		o.tracker.BeginPass()
		o.metrics.BeginActive()
		o.metrics.BeginActiveRequests()
	}
}

// EndPass ends a pass that was complete.
func (o *Observer) EndPass() {
	if o.updates.On() {
		o.updates.EndPass()
	}
	if o.metrics != nil {
		o.tracker.EndPass()
	}
}

// Live observes an open connection.
func (o *Observer) Live(l *connection.Live) {
	if o.metrics == nil && !o.updates.On() {
		return
	}
	process, source := o.owners.ofConnection(l.Owner, l.NetNS, l.Server)
	if o.updates.On() {
		o.update(l, process, source)
	}
	if o.metrics == nil {
		return
	}
	key := o.seriesOf(&l.Connection, process)
	o.metrics.AddActive(key, 1)
	o.observe(key, &l.Connection, o.tracker.Live(l))
}

// update makes a record of an open connection if one is due.
func (o *Observer) update(l *connection.Live, process *owner.Process, source owner.Source) {
	update, due := o.updates.Live(l, time.Now().UnixNano())
	if !due || o.logs == nil {
		return
	}
	o.ledger.Produce(ledger.Update, 1)
	o.enter(ledger.Update, o.logs.Updated(&update, process, source))
}

// closed makes a record of a connection that ended. It has what no update said.
func (o *Observer) closed(c *connection.Closed, process *owner.Process, source owner.Source) bool {
	if !o.updates.On() {
		return o.logs.Closed(c, 0, process, source)
	}
	rest := *c
	updates := o.updates.Closed(&rest)
	return o.logs.Closed(&rest, updates, process, source)
}
