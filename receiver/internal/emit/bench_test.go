// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

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

// BenchmarkBare puts constants into a record of the same attributes: what pdata itself
// costs, to compare BenchmarkClosed with.
func BenchmarkBare(b *testing.B) {
	newSlice := func() plog.LogRecordSlice {
		return plog.NewLogs().ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	}
	records := newSlice()
	b.ReportAllocs()
	for b.Loop() {
		bareClosed(records.AppendEmpty())
		if records.Len() == benchBatch {
			records = newSlice()
		}
	}
}

func bareClosed(record plog.LogRecord) {
	record.SetTimestamp(epoch)
	record.SetObservedTimestamp(epoch)
	record.SetEventName(eventClose)
	record.SetSeverityNumber(plog.SeverityNumberWarn)
	record.SetSeverityText("WARN")
	record.Body().SetStr("tcp.server.connection.close 10.0.0.2:51234 -> 10.0.0.1:80 nginx[123]")
	attributes := record.Attributes()
	attributes.EnsureCapacity(closeAttributes)
	attributes.PutStr(keyClientAddress, "10.0.0.2")
	attributes.PutInt(keyClientPort, 51234)
	attributes.PutStr(keyServerAddress, "10.0.0.1")
	attributes.PutInt(keyServerPort, 80)
	attributes.PutStr(keyNetworkType, typeIPv4)
	attributes.PutStr(keyTransport, transportTCP)
	attributes.PutStr(keyInterface, "eth0")
	attributes.PutInt(keyPID, 123)
	attributes.PutStr(keyExecutable, "nginx")
	attributes.PutStr(keyOwnerSource, "acceptor")
	attributes.PutInt(keyConnectionID, 7)
	attributes.PutInt(keyNetNS, 4026531840)
	attributes.PutDouble(keyHandshakeDuration, 0.00031)
	attributes.PutDouble(keyHandshakeRTT, 0.00031)
	attributes.PutBool(keyAdopted, true)
	attributes.PutBool(keyMPTCP, true)
	attributes.PutInt(keyReceivedSize, 73)
	attributes.PutInt(keyTransmitSize, 850)
	attributes.PutInt(keyReceivedSegments, 6)
	attributes.PutInt(keyTransmitSegments, 5)
	attributes.PutInt(keyRetransmits, 1)
	attributes.PutInt(keyOutOfOrder, 2)
	attributes.PutDouble(keySmoothedRTT, 0.000305)
	attributes.PutDouble(keyMinRTT, 0.00029)
	attributes.PutDouble(keyDuration, 0.012)
	attributes.PutDouble(keyAcceptDuration, 0.00004)
	attributes.PutStr(keyCloseReason, "client_reset")
	attributes.PutStr(keyErrorType, "client_reset")
}

// BenchmarkMetricsClosed is what a closed connection costs the series.
func BenchmarkMetricsClosed(b *testing.B) {
	m := NewMetrics(metadata.NewDefaultMetricsBuilderConfig(), MetricsOptions{SeriesLimit: 2000})
	s, c := Series{Port: 80, IPv4: true, Workload: testProcess().Workload}, testClosed()
	b.ReportAllocs()
	for b.Loop() {
		m.Opened(s, 1)
		m.IO(s, c.ReceivedBytes, c.TransmittedBytes)
		m.Closed(s, c)
	}
}

// BenchmarkSnapshot makes the data points of as many series as the default allows.
func BenchmarkSnapshot(b *testing.B) {
	m := NewMetrics(metadata.NewDefaultMetricsBuilderConfig(), MetricsOptions{SeriesLimit: 2000})
	for i := range 2000 {
		workload := &owner.Workload{Container: owner.Container{ID: fmt.Sprint("container", i%100)}}
		s := Series{Port: uint16(i), Workload: workload}
		m.Opened(s, 1)
		m.IO(s, 1, 1)
		m.Closed(s, testClosed())
		m.AddCount(s, connection.Retransmits, "", 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Snapshot(time.Unix(0, epoch))
	}
}

// TestClosedAllocates holds a close record to the allocations that pdata needs itself;
// text shares one for many records.
func TestClosedAllocates(t *testing.T) {
	l := NewLogs(metadata.DefaultLogsBuilderConfig(), LogsOptions{HostName: "web-1"})
	c, p := testClosed(), testProcess()
	ours := testing.AllocsPerRun(10, func() {
		for range benchBatch {
			l.Closed(c, p, owner.ByAcceptor)
		}
		l.Take()
	})
	bare := testing.AllocsPerRun(10, func() {
		records := plog.NewLogs().ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
		for range benchBatch {
			bareClosed(records.AppendEmpty())
		}
	})
	require.LessOrEqual(t, ours/benchBatch, bare/benchBatch+0.1)
}

// BenchmarkSeriesMemory tells what a series takes, by kind: while it is kept, and once
// more as a data point from a snapshot until the consumer has it.
func BenchmarkSeriesMemory(b *testing.B) {
	const limit = 2000
	for _, kind := range []struct {
		name string
		feed func(*Metrics, Series)
	}{
		{"counter", func(m *Metrics, s Series) { m.Opened(s, 1) }},
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
				require.Equal(b, limit, data.DataPointCount())
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
