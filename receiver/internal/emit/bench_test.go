// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

const benchBatch = 1000

// BenchmarkClosed is the cost of a close record, batches included.
func BenchmarkClosed(b *testing.B) {
	l := NewLogs(metadata.DefaultLogsBuilderConfig(), LogsOptions{HostName: "web-1"})
	c, p := testClosed(), testProcess()
	b.ReportAllocs()
	for b.Loop() {
		l.Closed(c, p, owner.ByAcceptor)
		if l.Len() == benchBatch {
			l.Take()
		}
	}
}

// BenchmarkMetricsClosed is what a closed connection costs the series.
func BenchmarkMetricsClosed(b *testing.B) {
	m := NewMetrics(metadata.NewDefaultMetricsBuilderConfig(), MetricsOptions{SeriesLimit: 2000})
	s, c := Series{Port: 80, IPv4: true, Workload: testProcess().Workload}, testClosed()
	b.ReportAllocs()
	for b.Loop() {
		m.AddCount(s, connection.Opens, "", 1)
		m.IO(s, 0, c.ReceivedBytes, c.TransmittedBytes)
		m.Closed(s, c)
	}
}

// BenchmarkSnapshot makes the data points of as many series as the default allows.
func BenchmarkSnapshot(b *testing.B) {
	m := NewMetrics(metadata.NewDefaultMetricsBuilderConfig(), MetricsOptions{SeriesLimit: 2000})
	for i := range 2000 {
		workload := &owner.Workload{Container: owner.Container{ID: fmt.Sprint("container", i%100)}}
		s := Series{Port: uint16(i), Workload: workload}
		m.AddCount(s, connection.Opens, "", 1)
		m.IO(s, 0, 1, 1)
		m.Closed(s, testClosed())
		m.AddCount(s, connection.Retransmits, "", 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Snapshot(time.Unix(0, epoch))
	}
}

// TestClosedAllocates holds a close record to the allocations that pdata needs itself:
// the record, its attributes, and each value and the body once. Text shares one for many
// records.
func TestClosedAllocates(t *testing.T) {
	l := NewLogs(metadata.DefaultLogsBuilderConfig(), LogsOptions{HostName: "web-1"})
	c, p := testClosed(), testProcess()
	l.Closed(c, p, owner.ByAcceptor)
	needed := 3 + float64(single(t, l.Take()).Attributes().Len())
	ours := testing.AllocsPerRun(10, func() {
		for range benchBatch {
			l.Closed(c, p, owner.ByAcceptor)
		}
		l.Take()
	})
	require.LessOrEqual(t, ours/benchBatch, needed+0.1)
}

// BenchmarkSeriesMemory tells what a series takes, by kind: while it is kept, and once
// more as a data point from a snapshot until the consumer has it.
func BenchmarkSeriesMemory(b *testing.B) {
	const limit = 2000
	for _, kind := range []struct {
		name string
		feed func(*Metrics, Series)
	}{
		{"counter", func(m *Metrics, s Series) { m.AddCount(s, connection.Opens, "", 1) }},
		{"histogram", func(m *Metrics, s Series) {
			c := testClosed()
			c.SmoothedRTT, c.Handshake, c.Accept = 0, 0, 0
			m.Closed(s, c)
		}},
	} {
		b.Run(kind.name, func(b *testing.B) {
			var kept, sent uint64
			for b.Loop() {
				before := heap()
				m := NewMetrics(metadata.NewDefaultMetricsBuilderConfig(), MetricsOptions{SeriesLimit: limit})
				for i := range limit {
					workload := &owner.Workload{Executable: "server", Container: owner.Container{ID: fmt.Sprint("container", i%100)}}
					kind.feed(m, Series{Port: uint16(i), Workload: workload})
				}
				filled := heap()
				data := m.Snapshot(time.Unix(0, epoch))
				kept, sent = kept+filled-before, sent+heap()-filled
				require.Equal(b, limit, m.SeriesCount())
				require.Len(b, data, 1)
				require.Equal(b, limit, data[0].DataPointCount())
			}
			b.ReportMetric(float64(kept)/float64(b.N)/limit, "B/series")
			b.ReportMetric(float64(sent)/float64(b.N)/limit, "B/point")
		})
	}
}

// heap is what is in use after everything else was collected.
func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
