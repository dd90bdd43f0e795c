// SPDX-License-Identifier: Apache-2.0

package series

import (
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// BeginActiveRequests sets the number of requests under way to 0 in every series.
// AddActiveRequest follows.
func (m *Metrics) BeginActiveRequests() {
	if !m.enabled[declared.MetricHTTPServerActiveRequests] {
		return
	}
	for set := range m.store.all() {
		for _, c := range set.series {
			if c.metric == declared.MetricHTTPServerActiveRequests && c.value > 0 {
				c.value = 0
				set.touched = true
			}
		}
	}
}

// AddActiveRequest adds a request under way.
func (m *Metrics) AddActiveRequest(s Key, v *httpview.View) {
	m.activeRequest(m.store.set(s), v, 1)
}

// activeRequest adds to the series of a request. A finished request begins its series at 0.
func (m *Metrics) activeRequest(set *attributeSet, v *httpview.View, n uint64) {
	if !m.enabled[declared.MetricHTTPServerActiveRequests] {
		return
	}
	// In the order of the metric's declaration.
	set, d := m.tupleDims(set, declared.MetricHTTPServerActiveRequests, &tuple{text: [maxTexts]string{v.Method, v.Scheme}})
	m.grown(set, d, n)
}
