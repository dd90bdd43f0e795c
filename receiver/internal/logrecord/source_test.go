// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/sourceview"
)

// sources are a prefix, an address and the sum of others.
func sources() []*source.Source {
	single := facttest.Source()
	single.IPv4, single.Client = true, netip.MustParseAddr("198.51.100.7")
	single.Prefix = netip.MustParsePrefix("198.51.100.7/32")
	return []*source.Source{facttest.Source(), single, facttest.Rest()}
}

func appendSources(t *testing.T, l *Logs) {
	t.Helper()
	var v sourceview.Viewer
	for _, s := range sources() {
		require.True(t, l.Source(v.Source(s), nil))
	}
	service := facttest.Service()
	require.True(t, l.Source(v.Service(service), facttest.Process()))
	service.Address = facttest.Flow6().Server
	require.True(t, l.Source(v.Service(service), nil))
	require.True(t, l.Source(v.Namespace(facttest.Namespace()), nil))
}

func TestSourcesGolden(t *testing.T) {
	l := testLogs(allEvents())
	appendSources(t, l)
	marshaler := plog.JSONMarshaler{}
	raw, err := marshaler.MarshalLogs(l.Take().Logs)
	facttest.Golden(t, "sources.json", raw, err)
}

// TestCountsThatAreNotKnown: what no hook tells is absent, and a record of the rest has nothing
// of one source.
func TestCountsThatAreNotKnown(t *testing.T) {
	l := testLogs(allEvents())
	var v sourceview.Viewer
	s := facttest.Source()
	s.Absent, s.Live = source.Kinds(0).With(source.Completed), nil
	require.True(t, l.Source(v.Source(s), nil))
	require.True(t, l.Source(v.Source(facttest.Rest()), nil))
	require.True(t, l.Source(v.Service(&source.Service{NetNS: facttest.OwnNetNS, Address: facttest.Flow().Server}), nil))
	records := l.Take().Logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
	require.Equal(t, 3, records.Len())
	one, rest, service := records.At(0).Attributes().AsRaw(), records.At(1).Attributes().AsRaw(), records.At(2).Attributes().AsRaw()
	assert.NotContains(t, one, "tcp.source.completed.count")
	assert.NotContains(t, one, "tcp.source.open.count")
	assert.Contains(t, one, "tcp.source.closed.count")
	assert.Contains(t, rest, "tcp.source.completed.count")
	for _, key := range []string{"client.address", "tcp.source.prefix", "tcp.source.age", "tcp.source.port.count"} {
		assert.Contains(t, one, key)
		assert.NotContains(t, rest, key)
	}
	assert.NotContains(t, service, "tcp.listener.syn.count")
	assert.Contains(t, service, "server.port")
}
