// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
)

type consumerFunc func(context.Context, plog.Logs) error

func (consumerFunc) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (f consumerFunc) ConsumeLogs(ctx context.Context, logs plog.Logs) error { return f(ctx, logs) }

// sumWith adds up the points that have an attribute.
func sumWith(t require.TestingT, m metricdata.Metrics, key, value string) (n int64) {
	data, ok := m.Data.(metricdata.Sum[int64])
	require.True(t, ok)
	for _, point := range data.DataPoints {
		got, _ := point.Attributes.Value("outcome")
		if key == "reason" {
			got, _ = point.Attributes.Value("reason")
		}
		if key == "" || got.AsString() == value {
			n += point.Value
		}
	}
	return n
}

// TestReadsWhatTheReceiverDeclares: each attribute that is read is declared for the event, and has
// the type that is read.
func TestReadsWhatTheReceiverDeclares(t *testing.T) {
	receiver := declared(t, "../../receiver/metadata.yaml")
	for event := range reading.Events {
		if event == reading.Unknown {
			continue
		}
		types := receiver.types(event.String())
		if !assert.NotEmpty(t, types, "the receiver declares no %s", event) {
			continue
		}
		read := reading.Attributes(event)
		assert.NotEmpty(t, read)
		if event <= reading.ConnectionFailed {
			// One function reads all three, which have most attributes in common.
			for _, other := range []reading.Event{reading.ConnectionOpen, reading.ConnectionClose, reading.ConnectionFailed} {
				maps.Copy(types, receiver.types(other.String()))
			}
		}
		for name, kind := range read {
			assert.Equal(t, types[name], kind, "%s of %s", name, event)
		}
	}
}

// TestEmitsWhatIsDeclared: records have only attributes that metadata.yaml declares for the event,
// with their types and values.
func TestEmitsWhatIsDeclared(t *testing.T) {
	own := declared(t, "metadata.yaml")
	types := own.types("tcp.server.threat")
	kinds := map[pcommon.ValueType]string{
		pcommon.ValueTypeStr: "string", pcommon.ValueTypeInt: "int", pcommon.ValueTypeDouble: "double",
		pcommon.ValueTypeBool: "bool", pcommon.ValueTypeSlice: "slice",
	}
	b := newBench(t)
	b.start()
	b.consume(scanOf("198.51.100.7", 1, 9))
	require.Eventually(t, func() bool { return len(b.states()) == 1 }, 10*time.Second, 20*time.Millisecond)
	b.stop()
	resource := b.logs.AllLogs()[0].ResourceLogs().At(0)
	host, _ := resource.Resource().Attributes().Get("host.name")
	assert.Equal(t, "web-1", host.Str())
	record := resource.ScopeLogs().At(0).LogRecords().At(0)
	assert.Equal(t, "tcp.server.threat port_scan begin from 198.51.100.7 on 192.0.2.1: 9 × closed ports", record.Body().Str())
	assert.Equal(t, "WARN", record.SeverityText())
	for key, value := range record.Attributes().All() {
		assert.Equal(t, types[key], kinds[value.Type()], key)
		if enum := own.Attributes[key].Enum; len(enum) > 0 {
			assert.Contains(t, enum, value.Str())
		}
	}
}
