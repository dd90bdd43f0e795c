// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package receiver

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/exchange"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/inspect"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord"
)

const (
	replayedRequest = "GET /index.html?page=2 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n" +
		"Accept-Encoding: gzip\r\nX-Request-Id: 6f1c2e9a5b7d4c3e\r\n\r\n"
	replayedAnswer = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 29 Nov 2026 08:00:00 GMT\r\nContent-Type: text/plain\r\n" +
		"Content-Length: 3\r\nConnection: keep-alive\r\n\r\nok\n"
)

// BenchmarkRequestPath is the whole way of a request on a connection that stays open, from the
// bytes of the ring buffer through reassembly, parsing and pairing to a consumer that discards.
// It is compared with building the same record out of constants, as in BenchmarkPath.
func BenchmarkRequestPath(b *testing.B) {
	for _, test := range []struct {
		name          string
		logs, metrics bool
	}{
		{"metrics", false, true},
		{"logs", true, false},
		{"logs_and_metrics", true, true},
	} {
		b.Run(test.name, func(b *testing.B) { benchmarkRequests(b, test.logs, test.metrics) })
	}
}

func benchmarkRequests(b *testing.B, logs, metrics bool) {
	want := newRequestWay(b, true, metrics).firstRequest(b)
	way := newRequestWay(b, logs, metrics)
	record := plog.NewLogRecord()
	bareRequest(record)
	require.Equal(b, want, shape(record), "the same record")
	way.requests.drain()

	var path, built []time.Duration
	for b.Loop() {
		path = append(path, cpuTime(way.requests.drain))
		built = append(built, cpuTime(bareRequests))
	}
	ratios := make([]float64, len(path))
	for i := range path {
		ratios[i] = float64(path[i]) / float64(built[i])
	}
	b.ReportMetric(0, "ns/op") // of a round; the figures below are of a request
	b.ReportMetric(median(ratios), "x-bare")
	b.ReportMetric(float64(median(path).Nanoseconds())/replayed, "ns/request")
	b.ReportMetric(float64(median(built).Nanoseconds())/replayed, "bare-ns/request")
	b.ReportMetric(testing.AllocsPerRun(5, way.requests.drain)/replayed, "allocs/request")
	b.ReportMetric(testing.AllocsPerRun(5, bareRequests)/replayed, "bare-allocs/request")
}

// requestWay is a way whose ring buffer has requests and answers.
type requestWay struct {
	*way
	requests *requestReplay
}

func newRequestWay(b *testing.B, logs, metrics bool) *requestWay {
	cfg := createDefaultConfig()
	cfg.Inspect.HTTP.Ports = []any{443}
	var faults check.Faults
	viewer := httpview.New(cfg.Inspect.View(&faults))
	require.Empty(b, faults)
	w := &requestWay{way: newWay(b, logs, metrics, viewer)}
	_, processes := processesOfContainers(3, 2)
	replay, err := newRequestReplay(w.observer, processes)
	require.NoError(b, err)
	w.requests = replay
	return w
}

// firstRequest plays one round and returns the shape of its first record.
func (w *requestWay) firstRequest(b *testing.B) map[string]pcommon.ValueType {
	push := w.push
	var shapes []map[string]pcommon.ValueType
	w.push = func(batch logrecord.Batch) {
		shapes = append(shapes, shape(batch.Logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)))
		push(batch)
	}
	w.requests.drain()
	require.NotEmpty(b, shapes)
	return shapes[0]
}

// replayedConnections is how many connections take turns.
const replayedConnections = 32

// requestReplay is records of segments in memory in the place of a ring buffer.
type requestReplay struct {
	sink    fact.Sink
	decoder *inspect.Decoder
	table   *exchange.Table
	sample  []byte
	// connections are the next records of each: a request and its answer.
	connections [replayedConnections][stream.Directions]shared.SegmentRecord
	used        int
}

func newRequestReplay(sink fact.Sink, processes []owner.Key) (*requestReplay, error) {
	context := &record.Context{Sink: sink, OwnNetNS: 1}
	r := &requestReplay{sink: sink, decoder: inspect.NewDecoder(context)}
	if err := context.Clock.Refresh(); err != nil {
		return nil, err
	}
	r.table = exchange.New(exchange.Options{
		MaxConnections: 1 << 16, MaxBytes: 1 << 24, Report: func(e *request.Exchange) { sink.RequestSeen(e) },
	})
	now := context.Clock.Boot()
	for i := range r.connections {
		process := processes[i%len(processes)]
		pair := &r.connections[i]
		for d := range pair {
			pair[d] = shared.SegmentRecord{
				Head:    shared.RecordHead{Kind: uint32(shared.RecordKindSegment), Netns: 1, Time: now},
				Flow:    replayedFlow(uint32(i)),
				Ifindex: 1, Sequence: 1, Acknowledgment: 1, Egress: uint8(d),
				Length: uint32(len(replayedBytes(stream.Direction(d)))), Flags: 0x18,
			}
		}
		begins := &pair[stream.ToServer]
		begins.Known, begins.First = uint8(shared.SegmentKnownBegins|shared.SegmentKnownJoined), begins.Sequence
		answer := &pair[stream.ToClient]
		answer.Known = uint8(shared.SegmentKnownSocket)
		answer.Connection = uint64(i + 1)
		answer.Owner = shared.Owner{
			Process: shared.ProcessKey{Start: process.Start, Pid: process.PID}, Source: uint32(owner.ByAcceptor),
		}
	}
	return r, nil
}

func replayedBytes(d stream.Direction) string {
	if d == stream.ToServer {
		return replayedRequest
	}
	return replayedAnswer
}

// Segment implements inspect.Taker.
func (r *requestReplay) Segment(c *request.Connection, s *stream.Segment) {
	r.used++
	r.table.Segment(c, s)
}

// drain reads as many requests and answers as a round has.
func (r *requestReplay) drain() {
	const apart = 100_000
	for i := range replayed {
		pair := &r.connections[i%replayedConnections]
		for d := range pair {
			next, other := &pair[d], &pair[1-d]
			next.Start = next.Sequence
			raw := unsafe.Slice((*byte)(unsafe.Pointer(next)), unsafe.Sizeof(*next))
			r.sample = append(append(r.sample[:0], raw...), replayedBytes(stream.Direction(d))...)
			r.decoder.Decode(r.sample, r)
			next.Sequence += next.Length
			other.Acknowledgment = next.Sequence
			next.Head.Time += apart
		}
		// Later records don't tell these again.
		pair[stream.ToServer].Known = 0
		pair[stream.ToClient].Connection = 0
	}
	r.sink.SegmentsUsed(r.used)
	r.used = 0
}

// bareRequests builds as many records of constants, in batches of the same size.
func bareRequests() {
	var records plog.LogRecordSlice
	batch := createDefaultConfig().Batch.MaxRecords
	for i := range replayed {
		if i%batch == 0 {
			records = plog.NewLogs().ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
		}
		bareRequest(records.AppendEmpty())
	}
}

func bareRequest(record plog.LogRecord) {
	const at = 1_772_000_000_000_000_000
	record.SetTimestamp(at)
	record.SetObservedTimestamp(at)
	record.SetEventName("tcp.server.http.request")
	record.SetSeverityNumber(plog.SeverityNumberInfo)
	record.SetSeverityText("INFO")
	record.Body().SetStr("tcp.server.http.request 198.18.4.2:51234 -> 192.0.2.1:443 nginx[123] GET /index.html 200 100µs")
	attributes := record.Attributes()
	attributes.EnsureCapacity(32)
	attributes.PutStr("network.peer.address", "198.18.4.2")
	attributes.PutInt("network.peer.port", 51234)
	attributes.PutStr("network.local.address", "192.0.2.1")
	attributes.PutInt("network.local.port", 443)
	attributes.PutStr("network.type", "ipv4")
	attributes.PutStr("network.transport", "tcp")
	attributes.PutStr("network.interface.name", "eth0")
	attributes.PutStr("network.protocol.name", "http")
	attributes.PutStr("network.protocol.version", "1.1")
	attributes.PutStr("client.address", "198.18.4.2")
	attributes.PutInt("client.port", 51234)
	attributes.PutInt("server.port", 443)
	attributes.PutStr("server.address", "example.com")
	attributes.PutInt("process.pid", 123)
	attributes.PutStr("process.executable.name", "nginx")
	attributes.PutStr("tcp.owner.source", "acceptor")
	attributes.PutStr("tcp.connection.id", "k7qw3zb2mdxa-1l4k9")
	attributes.PutInt("tcp.netns.inode", 4026531840)
	attributes.PutStr("url.path", "/index.html")
	attributes.PutStr("http.request.method", "GET")
	attributes.PutStr("url.scheme", "http")
	attributes.PutStr("url.query", "page=REDACTED")
	attributes.PutStr("user_agent.original", "curl/7.88.1")
	attributes.PutInt("http.response.status_code", 200)
	attributes.PutInt("http.request.body.size", 0)
	attributes.PutInt("http.response.body.size", 3)
	attributes.PutDouble("tcp.http.duration", 0.0001)
	attributes.PutDouble("tcp.http.request.duration", 0.0001)
	attributes.PutDouble("tcp.http.server.duration", 0.0001)
	attributes.PutDouble("tcp.http.response.duration", 0.0001)
	attributes.PutInt("tcp.http.retransmit.count", 0)
	attributes.PutEmptySlice("tcp.redacted").AppendEmpty().SetStr("url.query.page")
}
