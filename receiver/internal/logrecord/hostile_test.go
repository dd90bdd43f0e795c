// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	logspb "go.opentelemetry.io/proto/slim/otlp/logs/v1"

	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

func TestHostileStringsInLogs(t *testing.T) {
	t.Parallel()
	l := New(allEvents(), Options{HostName: facttest.Hostile, Now: facttest.Clock})
	process := facttest.Process()
	facttest.Poison(process.Workload)
	require.True(t, l.Opened(facttest.Poison(facttest.Opened()), process, owner.ByAcceptor))
	require.True(t, l.Closed(facttest.Poison(facttest.Closed()), 0, process, owner.ByAcceptor))
	require.True(t, l.Failed(facttest.Poison(facttest.Failed()), nil))
	require.True(t, l.Packet(facttest.Poison(facttest.Packet()), process, owner.ByListener))
	require.True(t, l.Closed(facttest.Closed(), 0, facttest.Process(), owner.ByAcceptor), "a harmless one between")
	hostile := withField(facttest.Exchange(), "X-Request-Id", facttest.Hostile)
	hostile.Target, hostile.Method = []byte("/"+facttest.Hostile), []byte(facttest.Hostile)
	withField(hostile, "User-Agent", facttest.Hostile).Interface = facttest.Hostile
	appendRequestRecord(t, l, hostile)
	batch := l.Take()
	raw, err := (&plog.ProtoMarshaler{}).MarshalLogs(batch.Logs)
	require.NoError(t, err)
	facttest.RequireHarmless(t, raw, &logspb.LogsData{})

	const harmless = "e\uFFFD\uFFFDFORGED \uFFFD[2J\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"
	record := batch.Logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(1)
	require.Equal(t, harmless, record.Attributes().AsRaw()["process.executable.name"])
	require.Equal(t, harmless, record.Attributes().AsRaw()["network.interface.name"])
	require.Contains(t, record.Body().Str(), " "+harmless+"[123] client_reset ")
}
