// SPDX-License-Identifier: Apache-2.0

package series

import (
	"slices"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// BeginQueues begins a pass over all listeners: AddQueues for each of them, then
// EndQueues.
func (m *Metrics) BeginQueues() {
	for b := range m.store.all() {
		for _, c := range b.cells {
			if ofQueue(c.metric) {
				c.value, c.current = 0, false
			}
		}
	}
}

// AddQueues adds the queues of one listener to those of its series, those that were read. Its overflows are
// Overflowed's; here their series begins, at 0, so that a rate sees the first.
func (m *Metrics) AddQueues(s Key, q *connection.Queues) {
	b := m.store.bundle(s)
	if !q.Unread {
		m.addQueue(b, declared.MetricAcceptQueueLength, q.Accept)
		m.addQueue(b, declared.MetricAcceptQueueLimit, q.AcceptLimit)
		m.addQueue(b, declared.MetricSYNQueueLength, q.SYN)
	}
	if m.enabled[declared.MetricAcceptQueueOverflows] && !q.OverflowsUnread {
		m.grown(b, dims{metric: declared.MetricAcceptQueueOverflows}, 0)
	}
}

func (m *Metrics) addQueue(b *bundle, id declared.Metric, n uint32) {
	if m.enabled[id] {
		m.grown(b, dims{metric: id}, uint64(n)).current = true
	}
}

// EndQueues drops the series whose last listener has ended. That of the overflows
// stays as other counters do.
func (m *Metrics) EndQueues() {
	for b := range m.store.all() {
		b.cells = slices.DeleteFunc(b.cells, func(c *cell) bool {
			ended := ofQueue(c.metric) && !c.current
			if ended && !b.overflow {
				m.store.count(b, c.metric, -1)
			}
			return ended
		})
	}
}

// Overflowed counts segments that a full accept queue turned away.
func (m *Metrics) Overflowed(s Key, n uint64) {
	m.add(m.store.bundle(s), dims{metric: declared.MetricAcceptQueueOverflows}, n)
}

// BeginOverflows begins the series of the overflows at 0, where nobody has an own.
func (m *Metrics) BeginOverflows(s Key) {
	if m.enabled[declared.MetricAcceptQueueOverflows] {
		m.grown(m.store.bundle(s), dims{metric: declared.MetricAcceptQueueOverflows}, 0)
	}
}

// ofQueue tells the metrics of a queue's present state, which end with the listener.
func ofQueue(m declared.Metric) bool {
	return m == declared.MetricAcceptQueueLength || m == declared.MetricAcceptQueueLimit || m == declared.MetricSYNQueueLength
}
