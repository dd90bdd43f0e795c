// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/stretchr/testify/assert"
)

// keepAlive returns what sends one more request with its answer on a connection.
func keepAlive(reported *int) func() {
	table := New(Options{MaxConnections: 10, MaxBytes: 1 << 20, Report: func(*request.Exchange) { *reported++ }})
	on := request.Connection{Flow: flow.Flow{
		Client: netip.MustParseAddrPort("192.0.2.7:40000"), Server: netip.MustParseAddrPort("192.0.2.1:80"),
	}}
	asked := []byte("GET /path?q=1 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	answered := []byte("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
	s := [2]stream.Segment{
		{Direction: stream.ToServer, Data: asked, Begins: true, First: 1, Sequence: 1, Acknowledgment: 1, Retransmits: -1},
		{Direction: stream.ToClient, Data: answered, Sequence: 1, Acknowledgment: 1 + uint32(len(asked))},
	}
	now := int64(1)
	return func() {
		for d := range s {
			now++
			s[d].Time = now
			table.Segment(&on, &s[d])
			s[d].Sequence += uint32(len(s[d].Data))
		}
		s[0].Begins = false
		s[0].Acknowledgment, s[1].Acknowledgment = s[1].Sequence, s[0].Sequence+uint32(len(asked))
	}
}

func TestKeepAliveAllocatesNothing(t *testing.T) {
	reported := 0
	one := keepAlive(&reported)
	one()
	assert.Zero(t, testing.AllocsPerRun(1000, one))
	assert.Equal(t, 1002, reported)
}

func BenchmarkKeepAlive(b *testing.B) {
	reported := 0
	one := keepAlive(&reported)
	b.ReportAllocs()
	for b.Loop() {
		one()
	}
	if reported != b.N {
		b.Fatalf("%d of %d reported", reported, b.N)
	}
}

// BenchmarkHalfHeads has 100,000 connections that have sent half a head each. The limit bounds the
// heap: most make room for others.
func BenchmarkHalfHeads(b *testing.B) {
	const connections, limit = 100_000, 32 << 20
	data := []byte("GET / HTTP/1.1\r\nX: " + strings.Repeat("y", 500))
	most, lost := 0.0, 0
	for b.Loop() {
		before := heap()
		options := Options{MaxConnections: connections, MaxBytes: limit, Report: func(*request.Exchange) {}}
		options.Lost = func(_ Loss, n int) { lost += n }
		table := New(options)
		for i := range connections {
			on := request.Connection{Flow: flow.Flow{
				Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 5000),
				Server: netip.MustParseAddrPort("192.0.2.1:80"),
			}}
			table.Segment(&on, &stream.Segment{Sequence: 1, Acknowledgment: 1, Data: data, Time: int64(i + 1), Begins: true, Joined: true, First: 1, Retransmits: -1})
		}
		most = max(most, heap()-before)
		table.Finish()
	}
	const mebi = 1 << 20
	b.ReportMetric(most/mebi, "heap-MiB")
	b.ReportMetric(limit/mebi, "limit-MiB")
	b.ReportMetric((most-limit)/connections, "B/connection")
	b.ReportMetric(float64(lost)/float64(b.N), "lost")
}

// heap is the memory in use behind a garbage collection.
func heap() float64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapInuse)
}
