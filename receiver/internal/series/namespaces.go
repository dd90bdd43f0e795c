// SPDX-License-Identifier: Apache-2.0

package series

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// namespaceDims are the series of the counters of a network namespace.
var namespaceDims = [source.NamespaceCounters]dims{
	source.SyncookiesSent:       {metric: declared.MetricNamespaceSYNCookies},
	source.TCPReqQFullDoCookies: {metric: declared.MetricNamespaceSYNQueueOverflows, detail: declared.SYNQueueCookie},
	source.TCPReqQFullDrop:      {metric: declared.MetricNamespaceSYNQueueOverflows, detail: declared.SYNQueueDrop},
	source.ListenOverflows:      {metric: declared.MetricNamespaceAcceptQueueOverflows},
	source.EmbryonicRsts:        {metric: declared.MetricNamespaceEmbryonicResets},
}

// Namespace counts what the kernel counted in a network namespace. Counters that were not read
// have no series, and others begin at 0.
func (m *Metrics) Namespace(n *source.Namespace) {
	set := m.store.set(Key{NetNS: n.NetNS, Listener: true})
	for c, added := range n.Counters {
		if d := namespaceDims[c]; added != nil && m.enabled[d.metric] {
			m.grown(set, d, *added)
		}
	}
}
