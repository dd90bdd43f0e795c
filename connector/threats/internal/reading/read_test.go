// SPDX-License-Identifier: Apache-2.0

package reading

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record makes a log record.
func record(t testing.TB, event string, attributes map[string]any) plog.LogRecord {
	t.Helper()
	r := plog.NewLogRecord()
	r.SetEventName(event)
	r.SetTimestamp(1_800_000_000_000_000_000)
	require.NoError(t, r.Attributes().FromRaw(attributes))
	return r
}

func whole(event Event) map[string]any {
	switch event {
	case Source:
		return map[string]any{sourcePrefix: "198.51.100.7/32", sourcePorts: int64(3), sourceNull: int64(2), sourceReceiveRate: 1.5}
	case Listener:
		return map[string]any{serverAddress: "192.0.2.1", serverPort: int64(80), listenerInterval: 1.0, listenerSyn: int64(9)}
	case HTTPRequest, TLSHandshake:
		return map[string]any{peerAddress: "198.51.100.7", localAddress: "192.0.2.1", localPort: int64(80), statusCode: int64(404), urlPath: "/a"}
	}
	return map[string]any{clientAddress: "198.51.100.7", serverAddress: "192.0.2.1", serverPort: int64(80), errorType: "refused", receiveSize: int64(7)}
}

func TestReadsEachEvent(t *testing.T) {
	reader := NewReader(1)
	var r Record
	for event := ConnectionOpen; event < Events; event++ {
		require.Equal(t, Read, reader.Read(record(t, event.String(), whole(event)), &r), event)
		assert.Equal(t, event, r.Event)
	}
	require.Equal(t, Ignored, reader.Read(record(t, "tcp.server.packet", nil), &r))
	require.Equal(t, Read, reader.Read(record(t, "tcp.server.source", whole(Source)), &r))
	assert.Equal(t, netip.MustParseAddr("198.51.100.7"), r.Client)
	assert.Equal(t, int64(2), r.Source.Impossible())
}

func TestAnIPv4AddressIsOneHoweverItIsWritten(t *testing.T) {
	reader := NewReader(1)
	var r Record
	attributes := whole(ConnectionClose)
	attributes[clientAddress] = "::ffff:198.51.100.7"
	require.Equal(t, Read, reader.Read(record(t, "tcp.server.connection.close", attributes), &r))
	assert.Equal(t, netip.MustParseAddr("198.51.100.7"), r.Client)
}

// TestBadRecordsAreSkipped: each attribute with a wrong type, with values out of range, and without.
func TestBadRecordsAreSkipped(t *testing.T) {
	reader := NewReader(1)
	var r Record
	for event := ConnectionOpen; event < Events; event++ {
		for name, kind := range Attributes(event) {
			attributes := whole(event)
			attributes[name] = true
			assert.Equal(t, WrongType, reader.Read(record(t, event.String(), attributes), &r), "%s of %s", name, event)
			bad := []any{}
			switch kind {
			case "int":
				bad = []any{int64(-1), int64(math.MaxInt64)}
			case "double":
				bad = []any{-1.0, math.NaN(), math.Inf(1)}
			}
			for _, value := range bad {
				attributes[name] = value
				assert.Equal(t, Invalid, reader.Read(record(t, event.String(), attributes), &r), "%s of %s: %v", name, event, value)
			}
		}
		assert.Equal(t, Incomplete, reader.Read(record(t, event.String(), nil), &r), event)
	}
	for name, value := range map[string]any{
		clientAddress: "localhost", serverAddress: "fe80::1%eth0", serverPort: int64(70_000),
	} {
		attributes := whole(ConnectionFailed)
		attributes[name] = value
		assert.Equal(t, Invalid, reader.Read(record(t, "tcp.server.connection.failed", attributes), &r), name)
	}
	attributes := whole(Source)
	attributes[sourcePrefix] = "198.51.100.7"
	assert.Equal(t, Invalid, reader.Read(record(t, "tcp.server.source", attributes), &r))
}

func TestARecordWithoutATime(t *testing.T) {
	reader := NewReader(1)
	var r Record
	from := record(t, "tcp.server.connection.close", whole(ConnectionClose))
	from.SetTimestamp(0)
	assert.Equal(t, Incomplete, reader.Read(from, &r))
	from.SetObservedTimestamp(1_800_000_000_000_000_000)
	assert.Equal(t, Read, reader.Read(from, &r))
	from.SetTimestamp(math.MaxUint64)
	assert.Equal(t, Invalid, reader.Read(from, &r))
}

func TestAResourceWithAStrangeHost(t *testing.T) {
	reader := NewReader(1)
	resource := pcommon.NewMap()
	resource.PutInt("host.name", 7)
	reader.Resource(resource)
	assert.Empty(t, reader.host)
}

func TestReadingAllocatesNothing(t *testing.T) {
	reader := NewReader(1)
	var r Record
	for event := ConnectionOpen; event < Events; event++ {
		from := record(t, event.String(), whole(event))
		assert.Zero(t, testing.AllocsPerRun(100, func() { reader.Read(from, &r) }), event)
	}
}

// TestTheOrderOfAttributesDoesNotMatter: what is expected is never taken for what is there.
func TestTheOrderOfAttributesDoesNotMatter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	reader := NewReader(1)
	var first, r Record
	require.Equal(t, Read, reader.Read(record(t, "tcp.server.source", whole(Source)), &first))
	for range 500 {
		names := slices.Collect(maps.Keys(whole(Source)))
		for range random.IntN(12) {
			names = append(names, fmt.Sprint("other.", random.IntN(20)))
		}
		random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		from := record(t, "tcp.server.source", nil)
		for _, name := range names {
			if value, known := whole(Source)[name]; known {
				require.NoError(t, from.Attributes().PutEmpty(name).FromRaw(value))
			} else {
				from.Attributes().PutBool(name, true)
			}
		}
		require.Equal(t, Read, reader.Read(from, &r))
		require.Equal(t, first, r)
	}
	require.LessOrEqual(t, reader.decoders[Source].learned, maxLearned)
}

// FuzzRead: no record makes the reader fail, and what it accepts is complete.
func FuzzRead(f *testing.F) {
	for event := ConnectionOpen; event < Events; event++ {
		r := record(f, event.String(), whole(event))
		logs := plog.NewLogs()
		r.CopyTo(logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty())
		bytes, err := (&plog.ProtoMarshaler{}).MarshalLogs(logs)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(data)
		if err != nil {
			return
		}
		reader := NewReader(1)
		var r Record
		for _, resource := range logs.ResourceLogs().All() {
			reader.Resource(resource.Resource().Attributes())
			for _, scope := range resource.ScopeLogs().All() {
				for _, from := range scope.LogRecords().All() {
					if reader.Read(from, &r) == Read && r.Event != Listener && r.Source.Rest == 0 && !r.Client.IsValid() {
						t.Fatalf("accepted %+v", r)
					}
				}
			}
		}
	})
}
