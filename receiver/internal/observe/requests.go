// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series"
)

// RequestSeen implements fact.Sink. Metrics count every request. What becomes a record is
// chosen before anything of it is built.
func (o *Observer) RequestSeen(e *request.Exchange) {
	o.facts++
	o.ledger.Produce(ledger.Request, 1)
	if o.requests == nil {
		o.ledger.LeaveOut(ledger.Request, 1)
		return
	}
	process, source := o.owners.ofConnection(e.Owner, e.NetNS, e.Server)
	view := o.requests.Of(e)
	o.requests.Route(view, executable(process))
	if o.metrics != nil {
		o.metrics.Request(seriesOfRequests(e.NetNS, e.Server.Port(), process), view)
	}
	if !o.recordOf(view, process, source) {
		o.ledger.LeaveOut(ledger.Request, 1)
		return
	}
	o.enter(ledger.Request, true)
}

// RequestUnderWay implements fact.Sink.
func (o *Observer) RequestUnderWay(e *request.Exchange) {
	if o.metrics == nil || o.requests == nil {
		return
	}
	process, _ := o.owners.ofConnection(e.Owner, e.NetNS, e.Server)
	o.metrics.AddActiveRequest(seriesOfRequests(e.NetNS, e.Server.Port(), process), o.requests.Glance(e))
}

// executable is that of a process that may be unknown.
func executable(process *owner.Process) string {
	if process == nil || process.Workload == nil {
		return ""
	}
	return process.Workload.Executable
}

// recordOf reports whether there is a record of a request.
func (o *Observer) recordOf(view *httpview.View, process *owner.Process, source owner.Source) bool {
	if o.logs == nil {
		return false
	}
	o.requests.Tie(view)
	if !o.requests.Selects(view) {
		return false
	}
	o.requests.Complete(view)
	return o.logs.Request(view, process, source)
}

// seriesOfRequests has the port that is inspected, whether a listener is known or not.
func seriesOfRequests(netns uint32, port uint16, process *owner.Process) series.Key {
	key := series.Key{NetNS: netns, Port: port, Listener: true}
	if process != nil {
		key.Workload = process.Workload
	}
	return key
}

// SegmentsUsed implements fact.Sink.
func (o *Observer) SegmentsUsed(n int) {
	o.facts++
	o.ledger.Deliver(ledger.Segment, n)
}
