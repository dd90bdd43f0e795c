// SPDX-License-Identifier: Apache-2.0

package series

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

func webListener() Key {
	return Key{Port: 80, Listener: true, Workload: facttest.Process().Workload}
}

func testQueues() *connection.Queues {
	return &connection.Queues{Socket: 1, Accept: 5, AcceptLimit: 128, SYN: 2, Overflows: 3}
}

// queues adds up listeners, each with its series, and takes a snapshot.
func (r *rig) queues(listeners map[*connection.Queues]Key) map[string][]int64 {
	r.BeginQueues()
	for q, s := range listeners {
		r.AddQueues(s, q)
	}
	r.EndQueues()
	data := r.pass(time.Second)
	all := map[string][]int64{}
	for _, name := range []string{"accept_queue.length", "accept_queue.limit", "syn_queue.length", "accept_queue.overflows"} {
		if v := sorted(values(data, "tcp.server."+name)); len(v) > 0 {
			all[name] = v
		}
	}
	return all
}

func TestMetricsQueues(t *testing.T) {
	r := newRig(Options{Expiry: time.Minute})
	one, other := testQueues(), testQueues()
	r.Overflowed(webListener(), 3)
	require.Equal(t, map[string][]int64{
		"accept_queue.length": {5, 10}, "accept_queue.limit": {128, 256}, "syn_queue.length": {2, 4},
		"accept_queue.overflows": {0, 3},
	}, r.queues(map[*connection.Queues]Key{
		one: webListener(), other: webListener(),
		testQueues(): {Port: 443, Listener: true},
	}), "listeners of one port are one series, whose overflows begin at 0")

	*one = connection.Queues{AcceptLimit: 128}
	require.Equal(t, map[string][]int64{
		"accept_queue.length": {0}, "accept_queue.limit": {128}, "syn_queue.length": {0},
		"accept_queue.overflows": {0, 3},
	}, r.queues(map[*connection.Queues]Key{one: webListener()}), "the queues' series end with the last listener")

	last := r.queues(nil)
	require.Equal(t, map[string][]int64{"accept_queue.overflows": {0, 3}}, last)
	r.now = r.now.Add(time.Minute)
	require.Empty(t, r.queues(nil), "the counter's expires as others do")
	require.Zero(t, r.SeriesCount())
}

func TestMetricsQueuesOfContainers(t *testing.T) {
	workload := func(id string) *owner.Workload {
		return &owner.Workload{Executable: "nginx", Container: owner.Container{ID: id}}
	}
	r := newRig(Options{})
	r.BeginQueues()
	r.AddQueues(Key{Port: 80, Listener: true, Workload: workload("a")}, testQueues())
	r.AddQueues(Key{Port: 80, Listener: true, Workload: workload("b")}, testQueues())
	r.EndQueues()
	points := sums(r.pass(time.Second), "tcp.server.accept_queue.length")
	require.Len(t, points, 2)
	require.Equal(t, map[string]any{"server.port": int64(80), "process.executable.name": "nginx"}, points[0].attributes)
	require.Equal(t, points[0].attributes, points[1].attributes)
	require.NotEqual(t, points[0].resource["container.id"], points[1].resource["container.id"])
}

func TestMetricsQueuesOverTheLimit(t *testing.T) {
	const limit = 2
	r := newRig(Options{SeriesLimit: limit})
	listeners := map[*connection.Queues]Key{}
	for port := range uint16(9) {
		listeners[testQueues()] = Key{Port: port + 1, Listener: true}
	}
	for range 2 {
		require.Equal(t, map[string][]int64{
			"accept_queue.length": {5, 5, 35}, "accept_queue.limit": {128, 128, 896}, "syn_queue.length": {2, 2, 14},
			"accept_queue.overflows": {0, 0, 0},
		}, r.queues(listeners))
	}
	require.Equal(t, map[string][]int64{"accept_queue.overflows": {0, 0, 0}}, r.queues(nil))
	require.Equal(t, limit, r.SeriesCount(), "those of the overflows")
}

func TestMetricsQueuesToggles(t *testing.T) {
	r := newRig(Options{}, func(c *metadata.MetricsBuilderConfig) {
		c.Metrics = metadata.MetricsConfig{}
		c.Metrics.TCPServerSynQueueLength.Enabled = true
	})
	r.Overflowed(webListener(), 3)
	require.Equal(t, map[string][]int64{"syn_queue.length": {2}},
		r.queues(map[*connection.Queues]Key{testQueues(): webListener()}))
}

// TestMetricsOfUnreadQueues: unread queues are absent, even if they were read before.
func TestMetricsOfUnreadQueues(t *testing.T) {
	r := newRig(Options{})
	unread := &connection.Queues{Socket: 1, Unread: true, OverflowsUnread: true}
	require.Empty(t, r.queues(map[*connection.Queues]Key{unread: webListener()}))
	unread.OverflowsUnread = false
	require.Equal(t, map[string][]int64{"accept_queue.overflows": {0}}, r.queues(map[*connection.Queues]Key{unread: webListener()}))
	require.Len(t, r.queues(map[*connection.Queues]Key{testQueues(): webListener()}), 4)
	require.Equal(t, map[string][]int64{"accept_queue.overflows": {0}}, r.queues(map[*connection.Queues]Key{unread: webListener()}))
}
