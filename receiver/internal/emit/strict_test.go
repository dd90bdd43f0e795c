// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"reflect"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	logspb "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
)

// hostile is what a name of an interface, process or file can be, and worse.
const hostile = "e\xff\nFORGED \x1b[2J\a\x00\u009b\u202e\u2028"

// poison sets every string of a fact, so that one that is added later is tested, too.
func poison[T any](fact *T) *T {
	poisonValue(reflect.ValueOf(fact).Elem())
	return fact
}

func poisonValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Pointer:
		if !v.IsNil() {
			poisonValue(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				poisonValue(v.Field(i))
			}
		}
	}
}

// requireHarmless fails where a receiver would refuse the message, which is one that
// checks UTF-8 as proto3 demands, or where a string could do something to its reader.
func requireHarmless(t *testing.T, raw []byte, message proto.Message) {
	t.Helper()
	require.NoError(t, proto.Unmarshal(raw, message))
	eachString(message.ProtoReflect(), func(s string) {
		require.LessOrEqual(t, len(s), 2*clean.MaxBytes, "%q is too long", s)
		for _, r := range s {
			require.True(t, unicode.IsPrint(r), "%q is in %q", r, s)
		}
	})
}

func eachString(message protoreflect.Message, visit func(string)) {
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		one := func(value protoreflect.Value) {
			switch field.Kind() {
			case protoreflect.StringKind:
				visit(value.String())
			case protoreflect.MessageKind:
				eachString(value.Message(), visit)
			}
		}
		if !field.IsList() {
			one(value)
			return true
		}
		for i := range value.List().Len() {
			one(value.List().Get(i))
		}
		return true
	})
}

func TestHostileStringsInLogs(t *testing.T) {
	t.Parallel()
	l := NewLogs(allEvents(), LogsOptions{HostName: hostile, Now: testClock})
	process := testProcess()
	poison(process.Workload)
	require.True(t, l.Opened(poison(testOpened()), process, owner.ByAcceptor))
	require.True(t, l.Closed(poison(testClosed()), process, owner.ByAcceptor))
	require.True(t, l.Failed(poison(testFailed())))
	require.True(t, l.Packet(poison(testPacket()), process, owner.ByListener))
	require.True(t, l.Closed(testClosed(), testProcess(), owner.ByAcceptor), "a harmless one between")
	batch := l.Take()
	raw, err := (&plog.ProtoMarshaler{}).MarshalLogs(batch.Logs)
	require.NoError(t, err)
	requireHarmless(t, raw, &logspb.LogsData{})

	const harmless = "e\uFFFD\uFFFDFORGED \uFFFD[2J\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"
	record := batch.Logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(1)
	require.Equal(t, harmless, record.Attributes().AsRaw()["process.executable.name"])
	require.Equal(t, harmless, record.Attributes().AsRaw()["network.interface.name"])
	require.Contains(t, record.Body().Str(), " "+harmless+"[123] client_reset ")
}

func TestHostileStringsInMetrics(t *testing.T) {
	t.Parallel()
	for _, exponential := range []bool{false, true} {
		r := newRig(MetricsOptions{HostName: hostile, Exponential: exponential})
		everything(r.Metrics)
		s := Series{Port: 80, IPv4: true, Workload: poison(testProcess().Workload)}
		r.AddCount(s, connection.Opens, "", 1)
		r.Closed(s, poison(testClosed()))
		r.AddCount(s, connection.Drops, "no_socket", 1)
		one, other := testInterface(false), testInterface(false)
		one.Name, other.Name = "e\xff", "e\xfe"
		r.SetInterface(one)
		r.SetInterface(other)
		data := r.pass(time.Second)
		raw, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(data)
		require.NoError(t, err)
		requireHarmless(t, raw, &metricspb.MetricsData{})
		requireDistinct(t, data)
	}
}

// requireDistinct fails where two points of one metric have the same attributes, as when
// two names became one.
func requireDistinct(t *testing.T, data pmetric.Metrics) {
	t.Helper()
	for _, resource := range data.ResourceMetrics().All() {
		for _, scope := range resource.ScopeMetrics().All() {
			for _, m := range scope.Metrics().All() {
				if m.Type() != pmetric.MetricTypeSum {
					continue
				}
				points := m.Sum().DataPoints()
				for i := range points.Len() {
					for j := range i {
						require.False(t, points.At(i).Attributes().Equal(points.At(j).Attributes()), m.Name())
					}
				}
			}
		}
	}
}
