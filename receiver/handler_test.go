// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series"
)

// points are the values of a metric by one attribute of its points.
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
	r.env.prepare = func(k *fakeKernel) {
		_, k.known = k.listen()
		adopted := connection.Connection{
			ID: 1 << 60, NetNS: 7, Adopted: true, Opened: time.Now().UnixNano(),
			Flow: flow.Flow{Client: testClient, Server: testServer},
		}
		k.account.Adopted = 1
		k.live[adopted.ID] = connection.Live{Connection: adopted, ReceivedBytes: 1000}
	}
	k := r.start(t)
	c := k.open()
	k.transfer(c, 10, 100)
	waitFor(t, "both are active", func() bool {
		return sink.DataPointCount() > 0 && points(lastOf(t, sink), "tcp.server.connection.active", "process.executable.name")["nginx"] == 2
	})
	k.transfer(c, 30, 300)
	waitFor(t, "bytes of the live ones", func() bool {
		return points(lastOf(t, sink), "tcp.server.io", "network.io.direction")["receive"] == 1030
	})
	k.transfer(c, 35, 400)
	k.close(c)
	k.requests(5)
	require.NoError(t, r.Shutdown(t.Context()))

	last := lastOf(t, sink)
	assert.Equal(t, map[string]int64{"nginx": 6}, points(last, "tcp.server.connection.opened", "process.executable.name"), "adopted ones were opened before")
	assert.Equal(t, map[string]int64{"80": 1}, points(last, "tcp.server.connection.active", "server.port"))
	assert.Equal(t, map[string]int64{"receive": 1035, "transmit": 400}, points(last, "tcp.server.io", "network.io.direction"))
	r.assertBalanced(t)
}

// TestOpenedBeginsAtZero: the series of a port that listens is there before the first
// connection, and counts those whose sockets nobody can look at.
func TestOpenedBeginsAtZero(t *testing.T) {
	sink := &consumertest.MetricsSink{}
	r := newReceiverUnderTest(t, testConfig(), nil, sink)
	r.env.prepare = func(k *fakeKernel) { _, k.known = k.listen() }
	k := r.start(t)
	opened := func() map[string]int64 {
		if sink.DataPointCount() == 0 {
			return nil
		}
		return points(lastOf(t, sink), "tcp.server.connection.opened", "process.executable.name")
	}
	waitFor(t, "the listener", func() bool { return len(opened()) > 0 })
	assert.Equal(t, map[string]int64{"nginx": 0}, opened())
	k.mu.Lock()
	k.account.Opened = 3
	k.mu.Unlock()
	waitFor(t, "the count", func() bool { return opened()["nginx"] == 3 })
	require.NoError(t, r.Shutdown(t.Context()))
	assert.Equal(t, map[string]int64{"nginx": 3}, opened())
	assert.Empty(t, points(lastOf(t, sink), "tcp.server.connection.active", "process.executable.name"), "none was seen")
}

// TestIncompleteSnapshotIsNotPublished: half of the connections must not look like
// all of them.
func TestIncompleteSnapshotIsNotPublished(t *testing.T) {
	const active = "tcp.server.connection.active"
	sink := &consumertest.MetricsSink{}
	r := newReceiverUnderTest(t, testConfig(), nil, sink)
	r.env.prepare = func(k *fakeKernel) { _, k.known = k.listen() }
	k := r.start(t)
	for range 5 {
		k.open()
	}
	five := func() bool {
		return sink.DataPointCount() > 0 && points(lastOf(t, sink), active, "server.port")["80"] == 5
	}
	waitFor(t, "all are active", five)
	k.mu.Lock()
	k.partErr = errors.New("broken iterator")
	failing := k.snapshots
	k.mu.Unlock()
	snapshots := func(n int) func() bool {
		return func() bool {
			k.mu.Lock()
			defer k.mu.Unlock()
			return k.snapshots >= failing+n
		}
	}
	// The first of them ends no sooner than the second begins.
	waitFor(t, "snapshots that fail", snapshots(2))
	published := len(sink.AllMetrics())
	waitFor(t, "more of them", snapshots(5))
	assert.LessOrEqual(t, len(sink.AllMetrics()), published+1, "at most one from before was under way")
	assert.True(t, five(), "the last complete one stands")
	k.mu.Lock()
	k.partErr = nil
	k.mu.Unlock()
	k.open()
	waitFor(t, "the next complete one", func() bool {
		return points(lastOf(t, sink), active, "server.port")["80"] == 6
	})
	require.NoError(t, r.Shutdown(t.Context()))
	for _, metrics := range sink.AllMetrics()[published:] {
		assert.GreaterOrEqual(t, points(metrics, active, "server.port")["80"], int64(5))
	}
	r.assertBalanced(t)
}

// TestListenersWithoutRoom are counted, and the latest owner of a port is known.
func TestListenersWithoutRoom(t *testing.T) {
	h, _ := testHandler(createDefaultConfig())
	listener := connection.Listener{NetNS: 7, Address: testServer}
	for range connection.DefaultMaxListeners + 3 {
		listener.Socket++
		h.ListenerOpened(&listener)
	}
	assert.EqualValues(t, 3, h.books.Lost(ledger.Listener, ledger.TableFull))
	h.ListenerClosed(1, 0)
	h.ListenerOpened(&listener)
	assert.EqualValues(t, 3, h.books.Lost(ledger.Listener, ledger.TableFull))
}

func TestMetricsOfPortsAndInterfaces(t *testing.T) {
	sink := &consumertest.MetricsSink{}
	r := newReceiverUnderTest(t, testConfig(), nil, sink)
	drop := connection.PortCounter{NetNS: 7, Port: 80, IPv4: true, What: connection.Drops, Detail: "no_socket", Value: 3}
	r.env.prepare = func(k *fakeKernel) {
		_, k.known = k.listen()
		k.ports = []connection.PortCounter{
			drop,
			{NetNS: 7, IPv4: true, What: connection.Failures, Detail: "refused", Value: 2},
		}
		k.interfaces = []packet.Interface{{Name: "eth0", Packets: [packet.Classes]uint64{packet.SYN: 4}}}
	}
	k := r.start(t)
	waitFor(t, "metrics", func() bool { return sink.DataPointCount() > 0 })
	k.mu.Lock()
	drop.Value = 5
	k.ports[0] = drop
	k.interfaces[0].Packets[packet.SYN] = 9
	k.mu.Unlock()
	require.NoError(t, r.Shutdown(t.Context()))

	last := lastOf(t, sink)
	assert.Equal(t, map[string]int64{"nginx": 5}, points(last, "tcp.server.drops", "process.executable.name"))
	assert.Equal(t, map[string]int64{"refused": 2}, points(last, "tcp.server.connection.failed", "error.type"))
	assert.EqualValues(t, 9, points(last, "tcp.server.packets", "tcp.packet.class")["syn"])
}

// testHandler is a handler without goroutines; its batches go to a slice.
func testHandler(cfg *Config) (*handler, *[]logrecord.Batch) {
	var batches []logrecord.Batch
	return &handler{
		books:      &ledger.Ledger{},
		owners:     newAttribution(cfg.Attribution, cfg.Limits.Listeners, fstest.MapFS{}),
		tracker:    connection.NewTracker(0),
		ports:      portDeltas{limit: tablesPerMap * cfg.Limits.PortCounters},
		logs:       logrecord.New(cfg.logsConfig(), logrecord.Options{}),
		metrics:    series.New(cfg.metricsConfig(), series.Options{SeriesLimit: 10}),
		push:       func(b logrecord.Batch) { batches = append(batches, b) },
		maxRecords: cfg.Batch.MaxRecords,
		maxBytes:   cfg.Queue.MaxBytes / batchesInQueue,
	}, &batches
}

func closedConnection(ref owner.Ref) *connection.Closed {
	return &connection.Closed{
		Connection: connection.Connection{
			ID: 1, NetNS: 7, Owner: ref,
			Flow: flow.Flow{Client: testClient, Server: testServer},
		},
		Reason: connection.CloseServerFIN,
	}
}

func record(t *testing.T, h *handler, batches *[]logrecord.Batch) plog.LogRecord {
	t.Helper()
	h.flush()
	require.NotEmpty(t, *batches)
	batch := (*batches)[len(*batches)-1]
	return batch.Logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
}

func TestOwnerOfAConnection(t *testing.T) {
	nginx, facts := newFakeKernel(t).listen()
	worker := owner.Key{Start: 2, PID: 4243}
	sight := func(h *handler) {
		for _, fact := range facts {
			fact(h)
		}
		h.ProcessSeen(&owner.Sighting{Key: worker, Executable: "worker"})
	}
	cases := []struct {
		name       string
		ref        owner.Ref
		prepare    func(*handler)
		executable any
		source     any
	}{
		{"found by the kernel side", owner.Ref{Key: worker, Source: owner.ByCloser}, sight, "worker", "closer"},
		{"by its listener", owner.Ref{}, sight, "nginx", "listener"},
		{"process never seen", owner.Ref{Key: owner.Key{Start: 9, PID: 9}, Source: owner.ByCloser}, sight, "nginx", "listener"},
		{"nothing known", owner.Ref{}, func(*handler) {}, nil, nil},
		{"listener gone a moment ago", owner.Ref{}, func(h *handler) {
			sight(h)
			h.ListenerClosed(1, 0)
		}, "nginx", "listener"},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			h, batches := testHandler(createDefaultConfig())
			tt.prepare(h)
			h.ConnectionClosed(closedConnection(tt.ref))
			attributes := record(t, h, batches).Attributes().AsRaw()
			assert.Equal(t, tt.executable, attributes["process.executable.name"])
			assert.Equal(t, tt.source, attributes["tcp.owner.source"])
		})
	}
	assert.NotZero(t, nginx)
}

func TestAttributionSwitches(t *testing.T) {
	for _, container := range []bool{false, true} {
		cfg := createDefaultConfig()
		cfg.Attribution = AttributionConfig{Process: false, Container: container}
		h, batches := testHandler(cfg)
		_, facts := newFakeKernel(t).listen()
		for _, fact := range facts {
			fact(h)
		}
		h.ConnectionClosed(closedConnection(owner.Ref{}))
		attributes := record(t, h, batches).Attributes().AsRaw()
		assert.NotContains(t, attributes, "process.executable.name")
	}
}

func TestBatchesAreBounded(t *testing.T) {
	cfg := createDefaultConfig()
	cfg.Batch.MaxRecords = 3
	h, batches := testHandler(cfg)
	for range 7 {
		h.ConnectionClosed(closedConnection(owner.Ref{}))
	}
	require.Len(t, *batches, 2)
	assert.Equal(t, 3, (*batches)[0].Logs.LogRecordCount())
	assert.Equal(t, 1, h.logs.Len())

	h.flushOlder(time.Now().Add(-time.Minute))
	assert.Len(t, *batches, 2, "young")
	h.flushOlder(time.Now())
	assert.Len(t, *batches, 3)

	cfg = createDefaultConfig()
	cfg.Queue.MaxBytes = 64 << 10
	h, batches = testHandler(cfg)
	for range 100 {
		h.ConnectionClosed(closedConnection(owner.Ref{}))
	}
	require.NotEmpty(t, *batches)
	for _, batch := range *batches {
		assert.Less(t, batch.Bytes, cfg.Queue.MaxBytes/2, "several fit into the queue")
	}
}

// TestHandlerAllocations: what is not a log record costs no allocation.
func TestHandlerAllocations(t *testing.T) {
	h, _ := testHandler(createDefaultConfig())
	h.logs = nil
	key, facts := newFakeKernel(t).listen()
	for _, fact := range facts {
		fact(h)
	}
	known, unknown := closedConnection(owner.Ref{Key: key, Source: owner.ByCloser}), closedConnection(owner.Ref{})
	for name, run := range map[string]func(){
		"closed":             func() { h.ConnectionClosed(known) },
		"closed by listener": func() { h.ConnectionClosed(unknown) },
		"failed":             func() { h.ConnectionFailed(&connection.Failed{}) },
		"packet":             func() { h.PacketSelected(&packet.Packet{}) },
		"seen again":         func() { h.ProcessSeen(&owner.Sighting{Key: key, Executable: "nginx", Comm: "nginx"}) },
	} {
		assert.Zero(t, testing.AllocsPerRun(100, run), name)
	}
}

func BenchmarkConnectionClosed(b *testing.B) {
	for name, logs := range map[string]bool{"logs and metrics": true, "metrics": false} {
		b.Run(name, func(b *testing.B) {
			h, _ := testHandler(createDefaultConfig())
			h.push = func(logrecord.Batch) {}
			if !logs {
				h.logs = nil
			}
			key, facts := newFakeKernel(b).listen()
			for _, fact := range facts {
				fact(h)
			}
			c := closedConnection(owner.Ref{Key: key, Source: owner.ByCloser})
			b.ReportAllocs()
			for b.Loop() {
				c.ID++
				h.ConnectionClosed(c)
			}
		})
	}
}
