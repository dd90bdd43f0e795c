// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package receiver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/observe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/pipeline"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series"
)

// replayed is the number of records of one round. Each has its own client.
const replayed = 4000

// BenchmarkPath is the whole way of a record, from the raw bytes of the ring buffer to a consumer
// that discards it. After each round, another one only builds the same records out of constants,
// in batches. x-bare is the median of the ratios of the two, by CPU time of the process, which
// includes the garbage collector.
func BenchmarkPath(b *testing.B) {
	for _, test := range []struct {
		name          string
		logs, metrics bool
	}{
		{"logs", true, false},
		{"metrics", false, true},
		{"logs_and_metrics", true, true},
	} {
		b.Run(test.name, func(b *testing.B) { benchmarkPath(b, test.logs, test.metrics) })
	}
}

func benchmarkPath(b *testing.B, logs, metrics bool) {
	want := newWay(b, true, metrics).first(b)
	way := newWay(b, logs, metrics)
	record := plog.NewLogRecord()
	bareRecord(record)
	require.Equal(b, want, shape(record), "the same record")
	way.replay.drain()

	var path, built []time.Duration
	for b.Loop() {
		path = append(path, cpuTime(way.replay.drain))
		built = append(built, cpuTime(bareRound))
	}
	ratios := make([]float64, len(path))
	for i := range path {
		ratios[i] = float64(path[i]) / float64(built[i])
	}
	b.ReportMetric(0, "ns/op") // of a round; the figures below are of a record
	b.ReportMetric(median(ratios), "x-bare")
	b.ReportMetric(float64(median(path).Nanoseconds())/replayed, "ns/record")
	b.ReportMetric(float64(median(built).Nanoseconds())/replayed, "bare-ns/record")
	b.ReportMetric(testing.AllocsPerRun(5, way.replay.drain)/replayed, "allocs/record")
	b.ReportMetric(testing.AllocsPerRun(5, bareRound)/replayed, "bare-allocs/record")
}

// way is the receiver from the ring buffer to the consumer, in one goroutine.
type way struct {
	observer *observe.Observer
	replay   *replay
	// push takes the batches on their way to the consumer.
	push func(logrecord.Batch)
}

func newWay(b *testing.B, logs, metrics bool, requests ...*httpview.Viewer) *way {
	cfg := createDefaultConfig()
	cfg.Limits = cfg.Limits.sized(fstest.MapFS{})
	root, processes := processesOfContainers(3, 2)
	set := nopSettings()
	report, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID: set.ID, Transport: pipeline.Transport, ReceiverCreateSettings: set,
	})
	require.NoError(b, err)
	r := &tcpReceiver{cfg: cfg, set: set, ledger: &ledger.Ledger{}, logs: consumertest.NewNop()}
	sender := r.newLogSender(report)
	w := &way{push: func(batch logrecord.Batch) {
		sender.Push(batch)
		sender.SendNext(context.Background())
	}}
	options := observe.Options{
		Ledger:       r.ledger,
		Attribution:  observe.Attribution{Process: true, Container: true},
		Connections:  cfg.Limits.Connections,
		Listeners:    cfg.Limits.Listeners,
		PortCounters: cfg.Limits.PortCounters,
		Root:         root,
		Push:         func(batch logrecord.Batch) { w.push(batch) },
		MaxRecords:   cfg.Batch.MaxRecords,
		MaxBytes:     sender.MaxBatchBytes(),
	}
	if logs {
		options.Logs = logrecord.New(cfg.logsConfig(), logrecord.Options{HostName: "web-1"})
	}
	if metrics {
		options.Metrics = series.New(cfg.metricsConfig(), series.Options{SeriesLimit: cfg.Limits.Series})
	}
	for _, viewer := range requests {
		options.Requests = viewer
	}
	w.observer = observe.New(options)
	for _, p := range processes {
		w.observer.ProcessSeen(&owner.Sighting{Key: p, Executable: "nginx", Comm: "nginx", Cgroup: uint64(p.PID)})
	}
	w.replay, err = newReplay(w.observer, replayed, processes)
	require.NoError(b, err)
	return w
}

// processesOfContainers returns the files of processes in containers, and their keys.
func processesOfContainers(containers, each int) (fstest.MapFS, []owner.Key) {
	root := fstest.MapFS{}
	var keys []owner.Key
	for container := range containers {
		id := strings.Repeat(fmt.Sprintf("%x", container), 64)
		for range each {
			key := owner.Key{PID: uint32(100 + len(keys)), Start: 10_000_000}
			directory := fmt.Sprintf("proc/%d/", key.PID)
			root[directory+"cgroup"] = &fstest.MapFile{Data: []byte("0::/docker/" + id + "\n")}
			stat := fmt.Sprintf("%d (nginx) S%s 1 0", key.PID, strings.Repeat(" 0", 18))
			root[directory+"stat"] = &fstest.MapFile{Data: []byte(stat)}
			keys = append(keys, key)
		}
	}
	return root, keys
}

// first plays one round and returns the shape of its first record.
func (w *way) first(b *testing.B) map[string]pcommon.ValueType {
	push := w.push
	var shapes []map[string]pcommon.ValueType
	w.push = func(batch logrecord.Batch) {
		require.Equal(b, 3, batch.Logs.ResourceLogs().Len(), "one per container")
		shapes = append(shapes, shape(batch.Logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)))
		push(batch)
	}
	w.replay.drain()
	require.NotEmpty(b, shapes)
	return shapes[0]
}

// shape is the attributes that a record has, and their types.
func shape(record plog.LogRecord) map[string]pcommon.ValueType {
	attributes := map[string]pcommon.ValueType{}
	for key, value := range record.Attributes().All() {
		attributes[key] = value.Type()
	}
	return attributes
}

// bareRound builds as many records of constants, in batches of the same size.
func bareRound() {
	var records plog.LogRecordSlice
	batch := createDefaultConfig().Batch.MaxRecords
	for i := range replayed {
		if i%batch == 0 {
			records = plog.NewLogs().ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
		}
		bareRecord(records.AppendEmpty())
	}
}

func bareRecord(record plog.LogRecord) {
	const at = 1_772_000_000_000_000_000
	record.SetTimestamp(at)
	record.SetObservedTimestamp(at)
	record.SetEventName("tcp.server.connection.close")
	record.SetSeverityNumber(plog.SeverityNumberInfo)
	record.SetSeverityText("INFO")
	record.Body().SetStr("tcp.server.connection.close 198.18.4.2:51234 -> 192.0.2.1:443 nginx[123] client_fin 12ms rx=73B tx=850B")
	attributes := record.Attributes()
	attributes.EnsureCapacity(25)
	attributes.PutStr("client.address", "198.18.4.2")
	attributes.PutInt("client.port", 51234)
	attributes.PutStr("server.address", "192.0.2.1")
	attributes.PutInt("server.port", 443)
	attributes.PutStr("network.type", "ipv4")
	attributes.PutStr("network.transport", "tcp")
	attributes.PutStr("network.interface.name", "eth0")
	attributes.PutInt("process.pid", 123)
	attributes.PutStr("process.executable.name", "nginx")
	attributes.PutStr("tcp.owner.source", "acceptor")
	attributes.PutStr("tcp.connection.id", "k7qw3zb2mdxa-1l4k9")
	attributes.PutInt("tcp.netns.inode", 4026531840)
	attributes.PutDouble("tcp.handshake.duration", 0.00031)
	attributes.PutDouble("tcp.handshake.rtt", 0.00031)
	attributes.PutInt("tcp.receive.size", 73)
	attributes.PutInt("tcp.transmit.size", 850)
	attributes.PutInt("tcp.receive.segment.count", 6)
	attributes.PutInt("tcp.transmit.segment.count", 5)
	attributes.PutInt("tcp.retransmit.count", 0)
	attributes.PutInt("tcp.out_of_order.count", 0)
	attributes.PutDouble("tcp.rtt.smoothed", 0.000305)
	attributes.PutDouble("tcp.rtt.min", 0.00029)
	attributes.PutDouble("tcp.connection.duration", 0.012)
	attributes.PutDouble("tcp.accept.duration", 0.00004)
	attributes.PutStr("tcp.close.reason", "client_fin")
}

// cpuTime is the CPU time of the process while f runs, with the garbage collector.
func cpuTime(f func()) time.Duration {
	var before, after unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &before)
	f()
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &after)
	return time.Duration(after.Nano() - before.Nano())
}

func median[T float64 | time.Duration](values []T) T {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}
