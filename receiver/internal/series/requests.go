// SPDX-License-Identifier: Apache-2.0

package series

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// Request counts a request. The key is that of its listener: the series of requests have no
// network.type.
func (m *Metrics) Request(s Key, v *httpview.View) {
	set := m.store.set(s)
	m.activeRequest(set, v, 0)
	if v.Problem.Unanswered() {
		m.add(set, dims{metric: declared.MetricHTTPUnanswered, detail: v.ErrorType}, 1)
		return
	}
	if v.Call != nil {
		m.call(set, v)
	}
	if v.RPC != nil && v.RPC.Timed {
		m.rpc(set, v)
	}
	if !v.Timed {
		return
	}
	// In the order of the metric's declaration.
	m.recordTuple(set, declared.MetricHTTPServerRequestDuration, seconds(v.Duration), &tuple{
		text:   [maxTexts]string{v.Method, v.Route, v.Scheme, v.ErrorType, declared.ProtocolHTTP, v.Protocol},
		number: int64(v.Status),
	})
}

// rpc counts a remote procedure call.
func (m *Metrics) rpc(set *attributeSet, v *httpview.View) {
	call := v.RPC
	// In the order of the metric's declaration.
	m.recordTuple(set, declared.MetricRPCServerCallDuration, seconds(v.Duration), &tuple{
		text: [maxTexts]string{call.System, clean.String(call.Name), call.Code.String(), call.ErrorType},
	})
}

// recordTuple records an observation of a metric with several attributes of its own. Without
// room for the values, it goes into the overflow series.
func (m *Metrics) recordTuple(set *attributeSet, id declared.Metric, value float64, values *tuple) {
	if !m.enabled[id] {
		return
	}
	set, d := m.tupleDims(set, id, values)
	m.observe(m.store.series(set, d), value)
}

// tupleDims returns what finds the series of a tuple.
func (m *Metrics) tupleDims(set *attributeSet, id declared.Metric, values *tuple) (*attributeSet, dims) {
	d := dims{metric: id, more: m.store.tuples.intern(values, families*m.options.SeriesLimit)}
	if d.more == nil {
		set = m.store.overflow
	}
	return set, d
}
