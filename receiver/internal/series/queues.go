// SPDX-License-Identifier: Apache-2.0

package series

import (
	"slices"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// BeginQueues begins a pass over all listeners. Call AddQueues for each, then EndQueues.
func (m *Metrics) BeginQueues() {
	for set := range m.store.all() {
		for _, c := range set.series {
			if ofQueue(c.metric) {
				c.value, c.current = 0, false
			}
		}
	}
}

// AddQueues adds the queues of one listener to its series, if they were read. It also begins the
// series of overflows at 0, so that a rate includes the first one. Overflowed counts them.
func (m *Metrics) AddQueues(s Key, q *connection.Queues) {
	set := m.store.set(s)
	if !q.Unread {
		m.addQueue(set, declared.MetricAcceptQueueLength, q.Accept)
		m.addQueue(set, declared.MetricAcceptQueueLimit, q.AcceptLimit)
		m.addQueue(set, declared.MetricSYNQueueLength, q.SYN)
	}
	if m.enabled[declared.MetricAcceptQueueOverflows] && !q.OverflowsUnread {
		m.grown(set, dims{metric: declared.MetricAcceptQueueOverflows}, 0)
	}
}

func (m *Metrics) addQueue(set *attributeSet, id declared.Metric, n uint32) {
	if m.enabled[id] {
		m.grown(set, dims{metric: id}, uint64(n)).current = true
	}
}

// EndQueues drops queue series whose last listener has ended. The series of overflows stays, as
// those of other counters do.
func (m *Metrics) EndQueues() {
	for set := range m.store.all() {
		set.series = slices.DeleteFunc(set.series, func(c *series) bool {
			ended := ofQueue(c.metric) && !c.current
			if ended && !set.overflow {
				m.store.count(set, c.metric, -1)
			}
			return ended
		})
	}
}

// Overflowed counts segments that a full accept queue dropped.
func (m *Metrics) Overflowed(s Key, n uint64) {
	m.add(m.store.set(s), dims{metric: declared.MetricAcceptQueueOverflows}, n)
}

// BeginOverflows begins the series of overflows at 0.
func (m *Metrics) BeginOverflows(s Key) {
	if m.enabled[declared.MetricAcceptQueueOverflows] {
		m.grown(m.store.set(s), dims{metric: declared.MetricAcceptQueueOverflows}, 0)
	}
}

// ofQueue reports whether a metric is the current state of a queue, whose series end with the
// listener.
func ofQueue(m declared.Metric) bool {
	return m == declared.MetricAcceptQueueLength || m == declared.MetricAcceptQueueLimit || m == declared.MetricSYNQueueLength
}
