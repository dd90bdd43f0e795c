// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"net/netip"
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
