// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/kerneltest"
)

const (
	acceptLength    = "tcp.server.accept_queue.length"
	acceptLimit     = "tcp.server.accept_queue.limit"
	acceptOverflows = "tcp.server.accept_queue.overflows"
	synLength       = "tcp.server.syn_queue.length"
)

// points returns the values of a metric by one attribute of its points.
func points(metrics pmetric.Metrics, name, attribute string) map[string]int64 {
	values := map[string]int64{}
	for _, resource := range metrics.ResourceMetrics().All() {
		for _, scope := range resource.ScopeMetrics().All() {
			for _, metric := range scope.Metrics().All() {
				if metric.Name() != name {
					continue
				}
				for _, point := range metric.Sum().DataPoints().All() {
					value, _ := point.Attributes().Get(attribute)
					values[value.AsString()] += point.IntValue()
				}
			}
		}
	}
	return values
}

func lastOf(t *testing.T, sink *consumertest.MetricsSink) pmetric.Metrics {
	t.Helper()
	all := sink.AllMetrics()
	require.NotEmpty(t, all)
	return all[len(all)-1]
}

func TestMetricsOfConnections(t *testing.T) {
	sink := &consumertest.MetricsSink{}
	r := newReceiverUnderTest(t, testConfig(), nil, sink)
	r.env.prepare = func(k *kerneltest.Kernel) {
		_, k.Known = k.Listen()
		adopted := connection.Connection{
			ID: 1 << 60, NetNS: 7, Adopted: true, Opened: time.Now().UnixNano(),
			Flow: flow.Flow{Client: kerneltest.Client, Server: kerneltest.Server},
		}
		k.Ledger.Adopted = 1
		k.Live[adopted.ID] = connection.Live{Connection: adopted, ReceivedBytes: 1000}
	}
	k := r.start(t)
	c := k.Open()
	k.Transfer(c, 10, 100)
	waitFor(t, "both are active", func() bool {
		return sink.DataPointCount() > 0 && points(lastOf(t, sink), "tcp.server.connection.active", "process.executable.name")["nginx"] == 2
	})
	k.Transfer(c, 30, 300)
	waitFor(t, "bytes of the live ones", func() bool {
		return points(lastOf(t, sink), "tcp.server.io", "network.io.direction")["receive"] == 30
	})
	k.Transfer(c, 35, 400)
	k.End(c)
	k.Requests(5)
	require.NoError(t, r.Shutdown(t.Context()))

	last := lastOf(t, sink)
	assert.Equal(t, map[string]int64{"nginx": 6}, points(last, "tcp.server.connection.opened", "process.executable.name"), "adopted ones were opened before")
	assert.Equal(t, map[string]int64{"80": 1}, points(last, "tcp.server.connection.active", "server.port"))
	assert.Equal(t, map[string]int64{"receive": 35, "transmit": 400}, points(last, "tcp.server.io", "network.io.direction"), "adopted ones count from their first reading")
	r.assertBalanced(t)
}

// TestOpenedBeginsAtZero: the series of a listening port exists before the first connection. It
// also counts connections whose sockets can't be read.
func TestOpenedBeginsAtZero(t *testing.T) {
	sink := &consumertest.MetricsSink{}
	r := newReceiverUnderTest(t, testConfig(), nil, sink)
	r.env.prepare = func(k *kerneltest.Kernel) { _, k.Known = k.Listen() }
	k := r.start(t)
	opened := func() map[string]int64 {
		if sink.DataPointCount() == 0 {
			return nil
		}
		return points(lastOf(t, sink), "tcp.server.connection.opened", "process.executable.name")
	}
	waitFor(t, "the listener", func() bool { return len(opened()) > 0 })
	assert.Equal(t, map[string]int64{"nginx": 0}, opened())
	k.Lock()
	k.Ledger.Opened = 3
	k.Unlock()
	waitFor(t, "the count", func() bool { return opened()["nginx"] == 3 })
	require.NoError(t, r.Shutdown(t.Context()))
	assert.Equal(t, map[string]int64{"nginx": 3}, opened())
	assert.Empty(t, points(lastOf(t, sink), "tcp.server.connection.active", "process.executable.name"), "none was seen")
}

// TestPortsThatAreNotSelectedHaveNoSeries: nobody counts there, so 0 would be no figure.
func TestPortsThatAreNotSelectedHaveNoSeries(t *testing.T) {
	sink := &consumertest.MetricsSink{}
	cfg := testConfig()
	cfg.Ports.Exclude = []any{80}
	r := newReceiverUnderTest(t, cfg, nil, sink)
	r.env.prepare = func(k *kerneltest.Kernel) { _, k.Known = k.Listen() }
	k := r.start(t)
	waitFor(t, "snapshots", func() bool { k.Lock(); defer k.Unlock(); return k.Snapshots > 2 })
	require.NoError(t, r.Shutdown(t.Context()))
	for _, md := range sink.AllMetrics() {
		assert.Empty(t, points(md, "tcp.server.connection.opened", "process.executable.name"))
	}
}

// TestIncompleteSnapshotIsNotPublished: half of the connections must not look like
// all of them.
func TestIncompleteSnapshotIsNotPublished(t *testing.T) {
	const active = "tcp.server.connection.active"
	sink := &consumertest.MetricsSink{}
	r := newReceiverUnderTest(t, testConfig(), nil, sink)
	r.env.prepare = func(k *kerneltest.Kernel) { _, k.Known = k.Listen() }
	k := r.start(t)
	for range 5 {
		k.Open()
	}
	five := func() bool {
		return sink.DataPointCount() > 0 && points(lastOf(t, sink), active, "server.port")["80"] == 5
	}
	waitFor(t, "all are active", five)
	k.Lock()
	k.PartErr = errors.New("broken iterator")
	failing := k.Snapshots
	k.Unlock()
	snapshots := func(n int) func() bool {
		return func() bool {
			k.Lock()
			defer k.Unlock()
			return k.Snapshots >= failing+n
		}
	}
	// The first one has ended once the second begins.
	waitFor(t, "snapshots that fail", snapshots(2))
	published := len(sink.AllMetrics())
	waitFor(t, "more of them", snapshots(5))
	assert.LessOrEqual(t, len(sink.AllMetrics()), published+1, "at most one from before was under way")
	assert.True(t, five(), "the last complete one stands")
	k.Lock()
	k.PartErr = nil
	k.Unlock()
	k.Open()
	waitFor(t, "the next complete one", func() bool {
		return points(lastOf(t, sink), active, "server.port")["80"] == 6
	})
	require.NoError(t, r.Shutdown(t.Context()))
	for _, metrics := range sink.AllMetrics()[published:] {
		assert.GreaterOrEqual(t, points(metrics, active, "server.port")["80"], int64(5))
	}
	r.assertBalanced(t)
}

func TestMetricsOfPortsAndInterfaces(t *testing.T) {
	sink := &consumertest.MetricsSink{}
	r := newReceiverUnderTest(t, testConfig(), nil, sink)
	drop := connection.PortCounter{NetNS: 7, Port: 80, IPv4: true, What: connection.Drops, Detail: "no_socket", Value: 3}
	r.env.prepare = func(k *kerneltest.Kernel) {
		_, k.Known = k.Listen()
		k.Ports = []connection.PortCounter{
			drop,
			{NetNS: 7, IPv4: true, What: connection.Failures, Detail: "refused", Value: 2},
		}
		k.Interfaces = []packet.Interface{{Name: "eth0", Packets: [packet.Classes]uint64{packet.SYN: 4}}}
	}
	k := r.start(t)
	waitFor(t, "metrics", func() bool { return sink.DataPointCount() > 0 })
	k.Lock()
	drop.Value = 5
	k.Ports[0] = drop
	k.Interfaces[0].Packets[packet.SYN] = 9
	k.Unlock()
	require.NoError(t, r.Shutdown(t.Context()))

	last := lastOf(t, sink)
	assert.Equal(t, map[string]int64{"nginx": 5}, points(last, "tcp.server.drops", "process.executable.name"))
	assert.Equal(t, map[string]int64{"refused": 2}, points(last, "tcp.server.connection.failed", "error.type"))
	assert.EqualValues(t, 9, points(last, "tcp.server.packets", "tcp.packet.class")["syn"])
}

func TestMetricsOfListeners(t *testing.T) {
	const executable = "process.executable.name"
	sink := &consumertest.MetricsSink{}
	r := newReceiverUnderTest(t, testConfig(), nil, sink)
	r.env.prepare = func(k *kerneltest.Kernel) {
		_, k.Known = k.Listen()
		k.Queues = []connection.Queues{{Socket: 1, Since: 1, Accept: 3, AcceptLimit: 128, SYN: 2, Overflows: 5}}
	}
	k := r.start(t)
	value := func(name string) func() map[string]int64 {
		return func() map[string]int64 {
			if sink.DataPointCount() == 0 {
				return nil
			}
			return points(lastOf(t, sink), name, executable)
		}
	}
	length, limit, overflows, handshakes := value(acceptLength), value(acceptLimit), value(acceptOverflows), value(synLength)
	waitFor(t, "the first look", func() bool { return length()["nginx"] == 3 })
	assert.Equal(t, map[string]int64{"nginx": 128}, limit())
	assert.Equal(t, map[string]int64{"nginx": 2}, handshakes())
	assert.Equal(t, map[string]int64{"nginx": 5}, overflows())

	// A pass without the listener changes nothing. The last figures stay.
	k.Look()
	k.Lock()
	missing := k.Snapshots
	k.Unlock()
	waitFor(t, "passes without it", func() bool {
		k.Lock()
		defer k.Unlock()
		return k.Snapshots > missing+2
	})
	assert.Equal(t, map[string]int64{"nginx": 3}, length())

	k.Look(connection.Queues{Socket: 1, Since: 1, Accept: 129, AcceptLimit: 128, Overflows: 8},
		connection.Queues{Socket: 2, Since: 1, Accept: 1000, Overflows: 1000}) // nobody told of it
	waitFor(t, "the next look", func() bool { return length()["nginx"] == 129 })
	assert.Equal(t, map[string]int64{"nginx": 8}, overflows())
	assert.Equal(t, map[string]int64{"nginx": 0}, handshakes())

	// The end of the listener has the final number of overflows.
	k.Produce(func(h fact.Sink) { h.ListenerClosed(1, 11) }, func(h fact.Sink) { h.ListenerClosed(1, 0) })
	waitFor(t, "the queues' series end", func() bool { return len(length()) == 0 })
	assert.Empty(t, limit())
	assert.Empty(t, handshakes())
	assert.Equal(t, map[string]int64{"nginx": 11}, overflows())
	require.NoError(t, r.Shutdown(t.Context()))
}
