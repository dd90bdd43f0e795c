// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/metadata"
)

// batch is how many records come together.
const batch = 1000

// builders make records as the receiver does: attributes in the order of the declaration, with
// names that all records share, in a map of the right size.
var builders = map[string]func(plog.LogRecord, int){
	"close":  buildClose,
	"failed": buildFailed,
	"source": buildSource,
}

// client is one of 1,000.
func clientOf(i int) string { return fmt.Sprintf("198.51.%d.%d", i%4, i%250) }

func begin(r plog.LogRecord, event, client string, attributes int) pcommon.Map {
	r.SetEventName(event)
	r.SetTimestamp(pcommon.Timestamp(1_800_000_000_000_000_000))
	r.SetObservedTimestamp(pcommon.Timestamp(1_800_000_000_000_000_000))
	r.SetSeverityNumber(plog.SeverityNumberInfo)
	r.SetSeverityText("INFO")
	r.Body().SetStr(event + " " + client)
	a := r.Attributes()
	a.EnsureCapacity(attributes)
	a.PutStr("client.address", client)
	return a
}

func putService(a pcommon.Map) {
	a.PutInt("client.port", 40000)
	a.PutStr("server.address", "192.0.2.1")
	a.PutInt("server.port", 443)
	a.PutStr("network.type", "ipv4")
	a.PutStr("network.transport", "tcp")
	a.PutStr("network.interface.name", "eth0")
}

func buildClose(r plog.LogRecord, i int) {
	a := begin(r, "tcp.server.connection.close", clientOf(i), 27)
	putService(a)
	a.PutInt("process.pid", 4711)
	a.PutStr("process.executable.name", "nginx")
	a.PutStr("tcp.owner.source", "acceptor")
	a.PutStr("tcp.connection.id", "nq4h7zkw2dya-b8js")
	a.PutInt("tcp.netns.inode", 4026531833)
	a.PutDouble("tcp.handshake.duration", 0.000031)
	a.PutDouble("tcp.handshake.rtt", 0.000031)
	for _, name := range []string{
		"tcp.receive.size", "tcp.transmit.size", "tcp.receive.segment.count", "tcp.transmit.segment.count", "tcp.retransmit.count",
		"tcp.out_of_order.count",
	} {
		a.PutInt(name, 72)
	}
	for _, name := range []string{"tcp.rtt.smoothed", "tcp.rtt.min", "tcp.connection.duration", "tcp.accept.duration"} {
		a.PutDouble(name, 0.001)
	}
	a.PutStr("tcp.close.reason", "client_fin")
}

func buildFailed(r plog.LogRecord, i int) {
	a := begin(r, "tcp.server.connection.failed", clientOf(i), 9)
	putService(a)
	a.PutInt("tcp.netns.inode", 4026531833)
	a.PutStr("error.type", "refused")
}

func buildSource(r plog.LogRecord, i int) {
	a := begin(r, "tcp.server.source", clientOf(i), 34)
	a.PutStr("network.type", "ipv4")
	a.PutStr("network.transport", "tcp")
	a.PutStr("tcp.source.prefix", clientOf(i)+"/32")
	a.PutInt("tcp.netns.inode", 4026531833)
	a.PutDouble("tcp.source.interval", 1)
	a.PutDouble("tcp.source.age", 60)
	for _, name := range []string{
		"tcp.source.syn.listening.count", "tcp.source.syn.closed.count", "tcp.source.flags.null.count",
		"tcp.source.flags.fin.count", "tcp.source.flags.xmas.count", "tcp.source.flags.syn_fin.count",
		"tcp.source.flags.syn_rst.count", "tcp.source.malformed.count", "tcp.source.port_zero.count", "tcp.source.land.count",
		"tcp.source.reset.syn.count", "tcp.source.reset.syn_ack.count", "tcp.source.reset.flags.count",
		"tcp.source.reset.other.count", "tcp.source.completed.count", "tcp.source.half_open.reset.count",
		"tcp.source.half_open.timeout.count", "tcp.source.closed.count", "tcp.source.unanswered.count", "tcp.source.port.count",
		"tcp.source.port.failed.count", "tcp.source.port.stray.count", "tcp.source.open.count", "tcp.source.open.silent.count",
		"tcp.source.silent.port.number", "tcp.source.silent.port.open.count",
	} {
		value := int64(0)
		if name == "tcp.source.completed.count" || name == "tcp.source.port.count" {
			value = 1
		}
		a.PutInt(name, value)
	}
	a.PutDouble("tcp.source.receive.rate", 100)
}

func build(make func(plog.LogRecord, int)) plog.Logs {
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("host.name", "web-1")
	records := resource.ScopeLogs().AppendEmpty().LogRecords()
	records.EnsureCapacity(batch)
	for i := range batch {
		make(records.AppendEmpty(), i)
	}
	return logs
}

// copies makes a batch of records like one.
func copies(layout plog.LogRecord) plog.Logs {
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	records.EnsureCapacity(batch)
	for range batch {
		r := records.AppendEmpty()
		layout.CopyTo(r)
		for _, value := range r.Attributes().All() {
			switch value.Type() {
			case pcommon.ValueTypeStr:
				value.SetStr("198.51.100.7")
			case pcommon.ValueTypeInt:
				value.SetInt(7)
			default:
				value.SetDouble(7)
			}
		}
	}
	return logs
}

// judged is a connector that runs.
func judged(b *testing.B) connector.Logs {
	c, err := NewFactory().CreateLogsToLogs(b.Context(), connectortest.NewNopSettings(metadata.Type), createDefaultConfig(), consumertest.NewNop())
	require.NoError(b, err)
	require.NoError(b, c.Start(b.Context(), newMdatagenNopHost()))
	b.Cleanup(func() { require.NoError(b, c.Shutdown(context.Background())) })
	return c
}

// rounds is how often a batch is made and judged in a row.
const rounds = 10

// BenchmarkJudge is all that the connector does with a record, against building it. The receiver
// copies a layout of keys and fills in the values, and so does this: it is the cheapest way. Both take
// turns, and each figure is the least.
func BenchmarkJudge(b *testing.B) {
	for name, builder := range builders {
		b.Run(name, func(b *testing.B) {
			c, logs, layout := judged(b), build(builder), plog.NewLogRecord()
			builder(layout, 0)
			least := [2]time.Duration{math.MaxInt64, math.MaxInt64}
			allocated := uint64(math.MaxUint64)
			var before, after runtime.MemStats
			for b.Loop() {
				begin := time.Now()
				for range rounds {
					copies(layout)
				}
				least[0] = min(least[0], time.Since(begin))
				runtime.ReadMemStats(&before)
				begin = time.Now()
				for range rounds {
					require.NoError(b, c.ConsumeLogs(b.Context(), logs))
				}
				least[1] = min(least[1], time.Since(begin))
				runtime.ReadMemStats(&after)
				allocated = min(allocated, after.Mallocs-before.Mallocs)
			}
			each := func(d time.Duration) float64 { return float64(d) / rounds / batch }
			b.ReportMetric(each(least[0]), "build-ns/record")
			b.ReportMetric(each(least[1]), "ns/record")
			b.ReportMetric(float64(least[1])/float64(least[0]), "x-build")
			b.ReportMetric(float64(allocated)/rounds/batch, "allocs/record")
		})
	}
}

// BenchmarkManySources judges 65,000 sources, which is what a second brings if each has a record.
func BenchmarkManySources(b *testing.B) {
	const sources = 65_000
	c := judged(b)
	var all []plog.Logs
	for i := range sources / batch {
		all = append(all, build(func(r plog.LogRecord, n int) {
			n += i * batch
			buildSource(r, n)
			address := fmt.Sprintf("198.18.%d.%d", n>>8, n&255)
			r.Attributes().PutStr("client.address", address)
			r.Attributes().PutStr("tcp.source.prefix", address+"/32")
		}))
	}
	least := time.Duration(math.MaxInt64)
	for b.Loop() {
		begin := time.Now()
		for _, logs := range all {
			require.NoError(b, c.ConsumeLogs(b.Context(), logs))
		}
		least = min(least, time.Since(begin))
	}
	b.ReportMetric(float64(least)/sources, "ns/record")
	b.ReportMetric(100*least.Seconds(), "%core")
}
