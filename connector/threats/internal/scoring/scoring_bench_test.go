// SPDX-License-Identifier: Apache-2.0

package scoring

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/model"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

// sourceAttributes are the whole numbers of tcp.server.source.
var sourceAttributes = []string{
	"tcp.netns.inode", "tcp.source.age", "tcp.source.syn.listening.count", "tcp.source.syn.closed.count",
	"tcp.source.flags.null.count", "tcp.source.flags.fin.count", "tcp.source.flags.xmas.count",
	"tcp.source.flags.syn_fin.count", "tcp.source.flags.syn_rst.count", "tcp.source.malformed.count",
	"tcp.source.port_zero.count", "tcp.source.land.count", "tcp.source.reset.syn.count",
	"tcp.source.reset.syn_ack.count", "tcp.source.reset.flags.count", "tcp.source.reset.other.count",
	"tcp.source.completed.count", "tcp.source.half_open.reset.count", "tcp.source.half_open.timeout.count",
	"tcp.source.closed.count", "tcp.source.unanswered.count", "tcp.source.port.count",
	"tcp.source.port.failed.count", "tcp.source.port.stray.count", "tcp.source.open.count",
	"tcp.source.open.silent.count",
}

// BenchmarkRecord builds a record of tcp.server.source, with which BenchmarkScore is compared.
func BenchmarkRecord(b *testing.B) {
	b.ReportAllocs()
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for i := 0; b.Loop(); i++ {
		if i%1000 == 0 {
			logs = plog.NewLogs()
			records = logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
			records.EnsureCapacity(1000)
		}
		record := records.AppendEmpty()
		record.SetEventName("tcp.server.source")
		record.Body().SetStr("tcp.server.source 198.51.100.7")
		a := record.Attributes()
		a.EnsureCapacity(len(sourceAttributes) + 4)
		a.PutStr("client.address", "198.51.100.7")
		a.PutStr("tcp.source.prefix", "198.51.100.7/32")
		a.PutStr("network.type", "ipv4")
		a.PutDouble("tcp.source.receive.rate", 1234)
		for _, key := range sourceAttributes {
			a.PutInt(key, int64(i))
		}
	}
}

// BenchmarkScore collects a record and scores the vector of its window, which has no other record:
// the most that a record can cost.
func BenchmarkScore(b *testing.B) {
	b.ReportAllocs()
	config := Config{
		Anomaly: AnomalyConfig{Enabled: true, Threshold: 1e6}, Model: model.DefaultConfig(), Window: time.Second, Sources: 1 << 16,
		Suspect: func(evidence.Key) bool { return false }, Report: func(*Score) {},
	}
	s, err := New(config, 1, nil)
	require.NoError(b, err)
	random := rand.New(rand.NewPCG(1, 2))
	facts := make([]vector.Facts, 512)
	for i := range facts {
		n := float64(random.IntN(10))
		for c := vector.SYNListening; c <= vector.ReceiveRate; c++ {
			facts[i].Set(c, 0)
		}
		facts[i].Set(vector.SYNListening, n)
		facts[i].Set(vector.Completed, n)
		facts[i].Set(vector.Ports, 1)
		facts[i].Set(vector.ReceiveRate, random.Float64()*1e5)
	}
	now := start
	for i := 0; b.Loop(); i++ {
		s.Add(Place{evidence.Key{Lo: uint64(i % 1000)}, 1}, now, &facts[i%len(facts)])
		if i%1000 == 999 {
			now = now.Add(time.Second)
			s.Tick(now)
		}
	}
	b.ReportMetric(float64(s.Counts().Judged)/float64(b.N), "scored/op")
}
