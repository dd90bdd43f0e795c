// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/kerneltest"
)

// TestListenersWithoutMetrics: their queues are ignored.
func TestListenersWithoutMetrics(t *testing.T) {
	r := newRig(withoutMetrics)
	_, facts := kerneltest.New(t).Listen()
	for _, fact := range facts {
		fact(r)
	}
	r.Snapshot(&probe.Snapshot{Queues: []connection.Queues{{Socket: 1, Overflows: 5}}})
	r.ListenerClosed(1, 7)
}

// TestOverflowsOfNoKnownListener: they have a series of their namespace without a port, which
// begins at 0. Listeners of a namespace that could not be read have no series.
func TestOverflowsOfNoKnownListener(t *testing.T) {
	r := newRig()
	require.NotNil(t, r.metrics)
	_, facts := kerneltest.New(t).Listen()
	for _, fact := range facts {
		fact(r)
	}
	look := func(unread bool, n uint64) map[string]int64 {
		own := uint64(2)
		if unread {
			own = 0
		}
		r.Snapshot(&probe.Snapshot{
			Queues:    []connection.Queues{{Socket: 1, Since: 1, Overflows: own, OverflowsUnread: unread}},
			Overflows: []connection.Overflow{{NetNS: 77, N: n}},
		})
		series := map[string]int64{}
		for _, message := range r.metrics.Snapshot(time.Now()) {
			for _, resource := range message.ResourceMetrics().All() {
				for _, m := range resource.ScopeMetrics().At(0).Metrics().All() {
					if m.Name() != "tcp.server.accept_queue.overflows" {
						continue
					}
					for _, p := range m.Sum().DataPoints().All() {
						name := ""
						if port, ok := p.Attributes().Get("server.port"); ok {
							name = port.AsString()
						}
						series[name] += p.IntValue()
					}
				}
			}
		}
		return series
	}
	assert.Equal(t, map[string]int64{"": 0}, look(true, 0))
	assert.Equal(t, map[string]int64{"": 4, "80": 2}, look(false, 4))
	assert.Equal(t, map[string]int64{"": 7, "80": 2}, look(true, 3))
}
