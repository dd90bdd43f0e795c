// SPDX-License-Identifier: Apache-2.0

package shares

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
)

func record(t testing.TB, event string, attributes map[string]any) plog.LogRecord {
	r := plog.NewLogRecord()
	r.SetEventName(event)
	require.NoError(t, r.Attributes().FromRaw(attributes))
	return r
}

func TestReading(t *testing.T) {
	reader := NewReader()
	client := netip.MustParsePrefix("198.51.100.7/32")
	closed := func(reason string, sent, received int64) map[string]any {
		return map[string]any{"client.address": "::ffff:198.51.100.7", "tcp.close.reason": reason, "tcp.transmit.size": sent, "tcp.receive.size": received}
	}
	for name, test := range map[string]struct {
		event      string
		attributes map[string]any
		want       *Record
	}{
		"served well":       {"tcp.server.connection.close", closed("client_fin", 1, 1), &Record{Event: Closed, Source: client, Served: true}},
		"nothing received":  {"tcp.server.connection.close", closed("server_fin", 1, 0), &Record{Event: Closed, Source: client}},
		"nothing sent":      {"tcp.server.connection.close", closed("server_fin", 0, 1), &Record{Event: Closed, Source: client}},
		"reset":             {"tcp.server.connection.close", closed("client_reset", 1, 1), &Record{Event: Closed, Source: client}},
		"a count that lies": {"tcp.server.connection.close", closed("client_fin", 1, -1), nil},
		"no address":        {"tcp.server.connection.close", map[string]any{"client.address": "localhost"}, nil},
		"an answer": {
			"tcp.server.http.request",
			map[string]any{"client.address": "203.0.113.1", "network.peer.address": "198.51.100.7", "http.response.status_code": int64(404)},
			&Record{Event: Answered, Source: client, Error: true},
		},
		"an answer, only from a header": {"tcp.server.http.request", map[string]any{"client.address": "203.0.113.1", "http.response.status_code": int64(404)}, nil},
		"a good answer": {
			"tcp.server.http.request",
			map[string]any{"network.peer.address": "198.51.100.7", "http.response.status_code": int64(200)},
			&Record{Event: Answered, Source: client},
		},
		"a source": {
			"tcp.server.source",
			map[string]any{"tcp.source.prefix": "2001:db8::/64", "tcp.source.completed.count": int64(7)},
			&Record{Event: Counted, Source: netip.MustParsePrefix("2001:db8::/64"), Completed: 7},
		},
		"the rest": {
			"tcp.server.source",
			map[string]any{"tcp.source.rest.count": int64(9), "tcp.source.completed.count": int64(70)},
			&Record{Event: Counted, Completed: 70},
		},
		"a source without the count": {"tcp.server.source", map[string]any{"tcp.source.prefix": "2001:db8::/64"}, nil},
		"another event":              {"tcp.server.packet", nil, nil},
		"wrong types":                {"tcp.server.source", map[string]any{"tcp.source.prefix": int64(7), "tcp.source.completed.count": "7"}, nil},
	} {
		var got Record
		ok := reader.Read(record(t, test.event, test.attributes), &got)
		assert.Equal(t, test.want != nil, ok, name)
		if ok && test.want != nil {
			assert.Equal(t, *test.want, got, name)
		}
	}
	var got Record
	attributes := closed("client_fin", 1, 1)
	attributes["tcp.connection.id"] = "a-1"
	require.True(t, reader.Read(record(t, "tcp.server.connection.close", attributes), &got))
	first := got.Connection
	assert.NotZero(t, first)
	attributes["tcp.connection.id"] = "a-2"
	require.True(t, reader.Read(record(t, "tcp.server.connection.close", attributes), &got))
	assert.NotEqual(t, first, got.Connection)
	from := record(t, "tcp.server.connection.close", attributes)
	assert.Zero(t, testing.AllocsPerRun(100, func() { reader.Read(from, &got) }))
}

// FuzzRead: no record makes it fail, and what it accepts can be judged.
func FuzzRead(f *testing.F) {
	for event, attributes := range map[string]map[string]any{
		"tcp.server.connection.close": {"client.address": "198.51.100.7", "tcp.close.reason": "client_fin", "tcp.transmit.size": int64(1), "tcp.receive.size": int64(1)},
		"tcp.server.source":           {"tcp.source.prefix": "2001:db8::/64", "tcp.source.completed.count": int64(7)},
	} {
		logs := plog.NewLogs()
		record(f, event, attributes).CopyTo(logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty())
		data, err := (&plog.ProtoMarshaler{}).MarshalLogs(logs)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(data)
		if err != nil {
			return
		}
		reader, j := NewReader(), New(Defaults())
		for _, resource := range logs.ResourceLogs().All() {
			for _, scope := range resource.ScopeLogs().All() {
				for _, from := range scope.LogRecords().All() {
					var r Record
					if reader.Read(from, &r) {
						j.Add(&r, start)
						if v := j.Judge(r.Source, start); v.Share < 0 || v.Share > 1 {
							t.Fatal(v)
						}
					}
				}
			}
		}
	})
}
