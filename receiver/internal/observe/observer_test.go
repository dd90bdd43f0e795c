// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/goleak"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/kerneltest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series"
)

// TestListenersWithoutRoom: listeners over the limit are counted as lost.
func TestListenersWithoutRoom(t *testing.T) {
	const listeners = 10
	r := newRig(func(o *Options) { o.Listeners = listeners })
	listener := connection.Listener{NetNS: kerneltest.NetNS, Address: kerneltest.Server}
	for range tablesPerMap*listeners + 3 {
		listener.Socket++
		r.ListenerOpened(&listener)
	}
	assert.EqualValues(t, 3, r.ledger.Lost(ledger.Listener, ledger.TableFull))
	r.ListenerClosed(1, 0)
	r.ListenerOpened(&listener)
	assert.EqualValues(t, 3, r.ledger.Lost(ledger.Listener, ledger.TableFull))
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is an Observer and the batches that it pushed.
type rig struct {
	*Observer
	batches []logrecord.Batch
}

// newRig makes one with changed options.
func newRig(change ...func(*Options)) *rig {
	r := &rig{}
	options := Options{
		Ledger:       &ledger.Ledger{},
		Attribution:  Attribution{Process: true, Container: true},
		Connections:  1000,
		Listeners:    100,
		PortCounters: 100,
		Root:         fstest.MapFS{},
		Logs:         logrecord.New(metadata.DefaultLogsBuilderConfig(), logrecord.Options{}),
		Metrics:      series.New(metadata.NewDefaultMetricsBuilderConfig(), series.Options{SeriesLimit: 10}),
		Push:         func(b logrecord.Batch) { r.batches = append(r.batches, b) },
		MaxRecords:   1000,
		MaxBytes:     4 << 20,
	}
	for _, f := range change {
		f(&options)
	}
	r.Observer = New(options)
	return r
}

func withoutLogs(o *Options) { o.Logs = nil }

func withoutMetrics(o *Options) { o.Metrics = nil }

func closedConnection(ref owner.Ref) *connection.Closed {
	return &connection.Closed{
		Connection: connection.Connection{
			ID: 1, NetNS: kerneltest.NetNS, Owner: ref,
			Flow: flow.Flow{Client: kerneltest.Client, Server: kerneltest.Server},
		},
		Reason: connection.CloseServerFIN,
	}
}

// record returns the first record of the latest batch.
func (r *rig) record(t *testing.T) plog.LogRecord {
	t.Helper()
	r.Flush()
	require.NotEmpty(t, r.batches)
	batch := r.batches[len(r.batches)-1]
	return batch.Logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
}

func TestOwnerOfAConnection(t *testing.T) {
	nginx, facts := kerneltest.New(t).Listen()
	worker := owner.Key{Start: 2, PID: 4243}
	sight := func(r *rig) {
		for _, fact := range facts {
			fact(r)
		}
		r.ProcessSeen(&owner.Sighting{Key: worker, Executable: "worker"})
	}
	cases := []struct {
		name       string
		ref        owner.Ref
		prepare    func(*rig)
		executable any
		source     any
	}{
		{"found by the kernel side", owner.Ref{Key: worker, Source: owner.ByCloser}, sight, "worker", "closer"},
		{"by its listener", owner.Ref{}, sight, "nginx", "listener"},
		{"process never seen", owner.Ref{Key: owner.Key{Start: 9, PID: 9}, Source: owner.ByCloser}, sight, "nginx", "listener"},
		{"nothing known", owner.Ref{}, func(*rig) {}, nil, nil},
		{"listener gone a moment ago", owner.Ref{}, func(r *rig) {
			sight(r)
			r.ListenerClosed(1, 0)
		}, "nginx", "listener"},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig()
			tt.prepare(r)
			r.ConnectionClosed(closedConnection(tt.ref))
			attributes := r.record(t).Attributes().AsRaw()
			assert.Equal(t, tt.executable, attributes["process.executable.name"])
			assert.Equal(t, tt.source, attributes["tcp.owner.source"])
		})
	}
	assert.NotZero(t, nginx)
}

func TestAttributionSwitches(t *testing.T) {
	for _, container := range []bool{false, true} {
		r := newRig(func(o *Options) { o.Attribution = Attribution{Process: false, Container: container} })
		_, facts := kerneltest.New(t).Listen()
		for _, fact := range facts {
			fact(r)
		}
		r.ConnectionClosed(closedConnection(owner.Ref{}))
		attributes := r.record(t).Attributes().AsRaw()
		assert.NotContains(t, attributes, "process.executable.name")
	}
}

func TestBatchesAreBounded(t *testing.T) {
	r := newRig(func(o *Options) { o.MaxRecords = 3 })
	for range 7 {
		r.ConnectionClosed(closedConnection(owner.Ref{}))
	}
	require.Len(t, r.batches, 2)
	assert.Equal(t, 3, r.batches[0].Logs.LogRecordCount())
	assert.Equal(t, 1, r.logs.Len())

	r.FlushOlder(time.Now().Add(-time.Minute))
	assert.Len(t, r.batches, 2, "young")
	r.FlushOlder(time.Now())
	assert.Len(t, r.batches, 3)

	const maxBytes = 16 << 10
	r = newRig(func(o *Options) { o.MaxBytes = maxBytes })
	for range 100 {
		r.ConnectionClosed(closedConnection(owner.Ref{}))
	}
	require.NotEmpty(t, r.batches)
	for _, batch := range r.batches {
		assert.Less(t, batch.Bytes, 2*maxBytes)
	}
}

// TestObserverAllocations: without log records there are no allocations.
func TestObserverAllocations(t *testing.T) {
	r := newRig(withoutLogs)
	key, facts := kerneltest.New(t).Listen()
	for _, fact := range facts {
		fact(r)
	}
	known, unknown := closedConnection(owner.Ref{Key: key, Source: owner.ByCloser}), closedConnection(owner.Ref{})
	for name, run := range map[string]func(){
		"closed":             func() { r.ConnectionClosed(known) },
		"closed by listener": func() { r.ConnectionClosed(unknown) },
		"failed":             func() { r.ConnectionFailed(&connection.Failed{}) },
		"packet":             func() { r.PacketSelected(&packet.Packet{}) },
		"seen again":         func() { r.ProcessSeen(&owner.Sighting{Key: key, Executable: "nginx", Comm: "nginx"}) },
	} {
		assert.Zero(t, testing.AllocsPerRun(100, run), name)
	}
}

func BenchmarkConnectionClosed(b *testing.B) {
	for name, change := range map[string]func(*Options){
		"logs and metrics": func(o *Options) { o.Push = func(logrecord.Batch) {} },
		"metrics":          withoutLogs,
	} {
		b.Run(name, func(b *testing.B) {
			r := newRig(change)
			key, facts := kerneltest.New(b).Listen()
			for _, fact := range facts {
				fact(r)
			}
			c := closedConnection(owner.Ref{Key: key, Source: owner.ByCloser})
			b.ReportAllocs()
			for b.Loop() {
				c.ID++
				r.ConnectionClosed(c)
			}
		})
	}
}

// TestRequests: metrics count every request, the selection makes records, and the ledger says
// what became of each.
func TestRequests(t *testing.T) {
	redact, err := privacy.New(privacy.Options{})
	require.NoError(t, err)
	for name, test := range map[string]struct {
		rate         int
		logs         bool
		left, queued int64
	}{
		"all":         {1, true, 0, 10},
		"one in five": {5, true, 8, 2},
		"none":        {0, true, 10, 0},
		"no logs":     {1, false, 10, 0},
	} {
		r := newRig(func(o *Options) {
			o.Requests = httpview.New(httpview.Options{Redact: redact, Select: httpview.Selection{SampleRate: test.rate}})
			if !test.logs {
				o.Logs = nil
			}
		})
		for range 10 {
			r.RequestSeen(facttest.Exchange())
		}
		got := r.ledger.Balance(ledger.Request)
		assert.Equal(t, ledger.Balance{Produced: 10, LeftOut: test.left, Queued: test.queued}, got, name)
		assert.Zero(t, got.Difference(), name)
	}

	r := newRig(withoutLogs, func(o *Options) { o.Requests = httpview.New(httpview.Options{Redact: redact}) })
	e := facttest.Exchange()
	assert.Zero(t, testing.AllocsPerRun(100, func() { r.RequestSeen(e) }), "metrics only")
	r.SegmentsUsed(3)
	assert.EqualValues(t, 3, r.ledger.Balance(ledger.Segment).Delivered)
}
