// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package receiver

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// BenchmarkRPCPath is the whole way of a gRPC call with a message each, on connections that stay
// open, as BenchmarkRequestPath is that of a request. It is compared with the same record.
func BenchmarkRPCPath(b *testing.B) {
	for _, test := range []struct {
		name          string
		logs, metrics bool
	}{
		{"metrics", false, true},
		{"logs", true, false},
	} {
		b.Run(test.name, func(b *testing.B) { benchmarkRPCs(b, test.logs, test.metrics) })
	}
}

func benchmarkRPCs(b *testing.B, logs, metrics bool) {
	way := newRequestWay(b, logs, metrics)
	replay := newRPCReplay(way.requests)
	replay.drain()
	require.EqualValues(b, replayed, way.requests.table.Figures().Reported)
	require.Zero(b, way.requests.table.Figures().Gaps)
	var path, built []time.Duration
	for b.Loop() {
		path = append(path, cpuTime(replay.drain))
		built = append(built, cpuTime(bareRequests))
	}
	ratios := make([]float64, len(path))
	for i := range path {
		ratios[i] = float64(path[i]) / float64(built[i])
	}
	b.ReportMetric(0, "ns/op") // of a round; the figures below are of a call
	b.ReportMetric(median(ratios), "x-bare")
	b.ReportMetric(float64(median(path).Nanoseconds())/replayed, "ns/call")
	b.ReportMetric(float64(median(built).Nanoseconds())/replayed, "bare-ns/call")
	b.ReportMetric(testing.AllocsPerRun(5, replay.drain)/replayed, "allocs/call")
	b.ReportMetric(testing.AllocsPerRun(5, bareRequests)/replayed, "bare-allocs/call")
}

// rpcReplay replays calls in the place of requests.
type rpcReplay struct {
	*requestReplay
	// first begins a connection, next are its further calls: their fields are in the tables.
	first, next [stream.Directions][]byte
	calls       [replayedConnections]uint32
}

func newRPCReplay(on *requestReplay) *rpcReplay {
	r := &rpcReplay{requestReplay: on}
	request, answer := newFrameWriter(), newFrameWriter()
	request.WriteString(frame.Preface)
	_ = request.WriteSettings()
	for _, to := range []*[stream.Directions][]byte{&r.first, &r.next} {
		request.headers(false, ":method", "POST", ":scheme", "http", ":path", "/shop.v1.Cart/Add", ":authority", "cart.example:443",
			"content-type", "application/grpc", "user-agent", "grpc-go/1.83.2", "te", "trailers", "grpc-timeout", "999m")
		_ = request.WriteData(1, true, make([]byte, 60))
		to[stream.ToServer] = request.take()
		answer.headers(false, ":status", "200", "content-type", "application/grpc")
		_ = answer.WriteData(1, false, make([]byte, 40))
		answer.headers(true, "grpc-status", "0", "grpc-message", "")
		to[stream.ToClient] = answer.take()
	}
	return r
}

// frameWriter writes frames of one direction.
type frameWriter struct {
	bytes.Buffer
	*h2.Framer
	fields  bytes.Buffer
	encoder *hpack.Encoder
}

func newFrameWriter() *frameWriter {
	w := &frameWriter{}
	w.Framer, w.encoder = h2.NewFramer(&w.Buffer, nil), hpack.NewEncoder(&w.fields)
	return w
}

func (w *frameWriter) headers(ends bool, fields ...string) {
	w.fields.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = w.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = w.WriteHeaders(h2.HeadersFrameParam{StreamID: 1, BlockFragment: w.fields.Bytes(), EndHeaders: true, EndStream: ends})
}

func (w *frameWriter) take() []byte {
	defer w.Reset()
	return bytes.Clone(w.Bytes())
}

// renumber gives all frames with a stream another one.
func renumber(frames []byte, id uint32) {
	frames = bytes.TrimPrefix(frames, []byte(frame.Preface))
	for len(frames) > 0 {
		head := frame.Parse((*[frame.HeadBytes]byte)(frames))
		if head.Stream != 0 {
			binary.BigEndian.PutUint32(frames[5:], id)
		}
		frames = frames[frame.HeadBytes+int(head.Length):]
	}
}

// drain reads as many calls as a round has.
func (r *rpcReplay) drain() {
	const apart = 100_000
	for i := range replayed {
		on := i % replayedConnections
		pair, id := &r.connections[on], 2*r.calls[on]+1
		for d := range pair {
			next, other := &pair[d], &pair[1-d]
			text := r.next[d]
			if id == 1 {
				text = r.first[d]
			}
			renumber(text, id)
			next.Start, next.Length = next.Sequence, uint32(len(text))
			next.Known |= uint8(shared.SegmentKnownFrames)
			raw := unsafe.Slice((*byte)(unsafe.Pointer(next)), unsafe.Sizeof(*next))
			r.sample = append(append(r.sample[:0], raw...), text...)
			r.decoder.Decode(r.sample, r)
			next.Sequence += next.Length
			other.Acknowledgment = next.Sequence
			next.Head.Time += apart
		}
		r.calls[on]++
		pair[stream.ToServer].Known = 0
		pair[stream.ToClient].Connection = 0
	}
	r.sink.SegmentsUsed(r.used)
	r.used = 0
}
