// SPDX-License-Identifier: Apache-2.0

package series

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

// BenchmarkMetricsClosed measures the series of a closed connection.
func BenchmarkMetricsClosed(b *testing.B) {
	m := New(metadata.NewDefaultMetricsBuilderConfig(), Options{SeriesLimit: 2000})
	s, c := Key{Port: 80, IPv4: true, Workload: facttest.Process().Workload}, facttest.Closed()
	b.ReportAllocs()
	for b.Loop() {
		m.AddCount(s, connection.Opens, "", 1)
		m.IO(s, 0, c.ReceivedBytes, c.TransmittedBytes)
		m.Closed(s, c)
	}
}

// BenchmarkSnapshot makes the data points of as many series as the default allows.
func BenchmarkSnapshot(b *testing.B) {
	m := New(metadata.NewDefaultMetricsBuilderConfig(), Options{SeriesLimit: 2000})
	for i := range 2000 {
		workload := &owner.Workload{Container: owner.Container{ID: fmt.Sprint("container", i%100)}}
		s := Key{Port: uint16(i), Workload: workload}
		m.AddCount(s, connection.Opens, "", 1)
		m.IO(s, 0, 1, 1)
		m.Closed(s, facttest.Closed())
		m.AddCount(s, connection.Retransmits, "", 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Snapshot(time.Unix(0, facttest.Epoch))
	}
}

// BenchmarkSeriesMemory measures the memory of a series, by kind: as it is kept, and as a data
// point of a snapshot.
func BenchmarkSeriesMemory(b *testing.B) {
	const limit = 2000
	for _, kind := range []struct {
		name string
		feed func(*Metrics, Key)
	}{
		{"counter", func(m *Metrics, s Key) { m.AddCount(s, connection.Opens, "", 1) }},
		{"histogram", func(m *Metrics, s Key) {
			c := facttest.Closed()
			c.SmoothedRTT, c.Handshake, c.Accept = 0, 0, 0
			m.Closed(s, c)
		}},
	} {
		b.Run(kind.name, func(b *testing.B) {
			config := metadata.NewDefaultMetricsBuilderConfig()
			config.Metrics.TCPServerConnectionClosed.Enabled = false
			var kept, first, sent uint64
			for b.Loop() {
				before := heap()
				now := time.Unix(0, facttest.Epoch)
				m := New(config, Options{SeriesLimit: limit, FromZero: true, Now: func() time.Time { return now }})
				for i := range limit {
					workload := &owner.Workload{Executable: "server", Container: owner.Container{ID: fmt.Sprint("container", i%100)}}
					kind.feed(m, Key{Port: uint16(i), Workload: workload})
				}
				filled := heap()
				begun := m.Snapshot(now.Add(time.Second))
				both := heap()
				data := m.Snapshot(now.Add(2 * time.Second))
				kept, first, sent = kept+filled-before, first+both-filled, sent+heap()-both
				require.Equal(b, limit, m.SeriesCount())
				require.Len(b, begun, 1)
				require.Equal(b, 2*limit, begun[0].DataPointCount())
				require.Len(b, data, 1)
				require.Equal(b, limit, data[0].DataPointCount())
			}
			b.ReportMetric(float64(kept)/float64(b.N)/limit, "B/series")
			b.ReportMetric(float64(first)/float64(b.N)/limit, "B/first-points")
			b.ReportMetric(float64(sent)/float64(b.N)/limit, "B/point")
		})
	}
}

// heap returns the memory in use after a garbage collection.
func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
