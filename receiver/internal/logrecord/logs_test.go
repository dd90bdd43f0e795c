// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/filter"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

// single returns the only record of a batch.
func single(t *testing.T, batch Batch) plog.LogRecord {
	t.Helper()
	require.Equal(t, 1, batch.Logs.LogRecordCount())
	return batch.Logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
}

func TestLogsGolden(t *testing.T) {
	l := testLogs(allEvents())
	require.True(t, l.Opened(facttest.Opened(), facttest.Process(), owner.ByListener))
	require.True(t, l.Closed(facttest.Closed(), 0, facttest.Process(), owner.ByAcceptor))
	require.True(t, l.Failed(facttest.Failed(), nil))
	require.True(t, l.Packet(facttest.Packet(), facttest.Process(), owner.ByListener))
	require.True(t, l.Closed(&connection.Closed{Time: facttest.Epoch}, 0, nil, owner.None))
	require.Equal(t, 5, l.Len())

	batch := l.Take()
	require.Equal(t, [ledger.Events]int{
		ledger.Connection: 2, ledger.Open: 1, ledger.Failed: 1, ledger.Packet: 1,
	}, batch.Counts)
	data, err := (&plog.JSONMarshaler{}).MarshalLogs(batch.Logs)
	facttest.Golden(t, "logs.json", data, err)
}

func TestLogsTakeHandsOver(t *testing.T) {
	l := testLogs(allEvents())
	l.Closed(facttest.Closed(), 0, facttest.Process(), owner.ByAcceptor)
	first := l.Take()
	body := single(t, first).Body().Str()
	require.Positive(t, first.Bytes)
	require.Zero(t, l.Len())
	require.Zero(t, l.Bytes())

	other := facttest.Closed()
	other.Flow = facttest.Flow6()
	l.Closed(other, 0, nil, owner.None)
	require.Equal(t, body, single(t, first).Body().Str(), "a later record must not change it")
	require.Equal(t, "2001:db8::2", single(t, l.Take()).Attributes().AsRaw()["client.address"])
	require.Zero(t, l.Take().Logs.ResourceLogs().Len())
}

func TestLogsBody(t *testing.T) {
	l := testLogs(allEvents())
	c := facttest.Closed()
	c.Reason = connection.CloseClientFIN
	l.Closed(c, 0, facttest.Process(), owner.ByAcceptor)
	require.Equal(t, "tcp.server.connection.close 10.0.0.2:51234 -> 10.0.0.1:80 nginx[123] "+
		"client_fin 12ms rx=73B tx=850B", single(t, l.Take()).Body().Str())

	l.Failed(facttest.Failed(), nil)
	require.Equal(t, "tcp.server.connection.failed [2001:db8::2]:51234 -> [2001:db8::1]:443 refused",
		single(t, l.Take()).Body().Str())

	l.Packet(facttest.Packet(), nil, owner.None)
	require.Equal(t, "tcp.server.packet 10.0.0.2:51234 -> 10.0.0.1:80 receive SYN|ACK "+
		"payload=0B malformed=tcp_flags", single(t, l.Take()).Body().Str())
}

func TestLogsSeverityAndErrorType(t *testing.T) {
	for reason, want := range map[connection.CloseReason]struct {
		severity  plog.SeverityNumber
		errorType any
	}{
		connection.CloseClientFIN:   {plog.SeverityNumberInfo, nil},
		connection.CloseServerFIN:   {plog.SeverityNumberInfo, nil},
		connection.CloseClientReset: {plog.SeverityNumberWarn, "client_reset"},
		connection.CloseServerReset: {plog.SeverityNumberWarn, "server_reset"},
		connection.CloseAborted:     {plog.SeverityNumberWarn, "aborted"},
		connection.CloseTimeout:     {plog.SeverityNumberWarn, "timeout"},
		connection.CloseUnknown:     {plog.SeverityNumberWarn, "_OTHER"},
	} {
		t.Run(reason.String(), func(t *testing.T) {
			l := testLogs(allEvents())
			c := facttest.Closed()
			c.Reason = reason
			require.True(t, l.Closed(c, 0, nil, owner.None))
			record := single(t, l.Take())
			require.Equal(t, want.severity, record.SeverityNumber())
			require.Equal(t, want.errorType, record.Attributes().AsRaw()[declared.AttrErrorType.Key()])
		})
	}
	l := testLogs(allEvents())
	p := facttest.Packet()
	p.Malformed = packet.WellFormed
	l.Packet(p, nil, owner.None)
	require.Equal(t, plog.SeverityNumberInfo, single(t, l.Take()).SeverityNumber())
}

func TestLogsSwitchedOff(t *testing.T) {
	config := metadata.DefaultLogsBuilderConfig()
	l := testLogs(config)
	require.False(t, l.Opened(facttest.Opened(), nil, owner.None), "off by default")

	config.Events = metadata.EventsConfig{}
	l = testLogs(config)
	require.False(t, l.Closed(facttest.Closed(), 0, nil, owner.None))
	require.False(t, l.Failed(facttest.Failed(), nil))
	require.False(t, l.Packet(facttest.Packet(), nil, owner.None))
	require.Zero(t, l.Len())
	require.Zero(t, l.Take().Logs.ResourceLogs().Len())
}

func TestLogsResources(t *testing.T) {
	l := testLogs(allEvents())
	other := facttest.Process()
	other.Workload = &owner.Workload{Executable: "nginx", Container: owner.Container{ID: "other"}}
	for range 2 {
		l.Closed(facttest.Closed(), 0, facttest.Process(), owner.ByAcceptor)
		l.Closed(facttest.Closed(), 0, other, owner.ByAcceptor)
		l.Closed(facttest.Closed(), 0, nil, owner.None)
	}
	logs := l.Take().Logs
	require.Equal(t, 3, logs.ResourceLogs().Len(), "one per container")
	want := []map[string]any{
		{
			"host.name": "web-1", "container.id": facttest.Process().Container.ID,
			"k8s.pod.uid": facttest.Process().Container.PodUID, "service.instance.id": facttest.Process().Container.ID,
		},
		{"host.name": "web-1", "container.id": "other", "service.instance.id": "other", "service.name": "nginx"},
		{"host.name": "web-1", "service.instance.id": "web-1"},
	}
	for i, attributes := range want {
		resource := logs.ResourceLogs().At(i)
		require.Equal(t, attributes, resource.Resource().Attributes().AsRaw())
		require.Equal(t, 2, resource.ScopeLogs().At(0).LogRecords().Len())
	}
}

func TestLogsResourceToggles(t *testing.T) {
	config := allEvents()
	config.ResourceAttributes.ContainerID.Enabled = false
	config.ResourceAttributes.HostName.Enabled = false
	config.ResourceAttributes.ServiceInstanceID.Enabled = false
	config.ResourceAttributes.K8sPodUID.EventsExclude = []filter.Config{{Strict: "excluded"}}
	l := testLogs(config)
	excluded := facttest.Process()
	excluded.Workload = &owner.Workload{Container: owner.Container{PodUID: "excluded"}}
	require.False(t, l.Closed(facttest.Closed(), 0, excluded, owner.ByAcceptor))
	require.True(t, l.Closed(facttest.Closed(), 0, facttest.Process(), owner.ByAcceptor))
	require.False(t, l.Closed(facttest.Closed(), 0, excluded, owner.ByAcceptor))

	batch := l.Take()
	require.Equal(t, 1, batch.Counts[ledger.Connection])
	require.Equal(t, 1, batch.Logs.ResourceLogs().Len())
	require.Equal(t, map[string]any{"k8s.pod.uid": facttest.Process().Container.PodUID},
		batch.Logs.ResourceLogs().At(0).Resource().Attributes().AsRaw())

	config.ResourceAttributes.K8sPodUID.EventsExclude = nil
	config.ResourceAttributes.K8sPodUID.EventsInclude = []filter.Config{{Regex: "^excl"}}
	l = testLogs(config)
	require.True(t, l.Closed(facttest.Closed(), 0, excluded, owner.ByAcceptor))
	require.False(t, l.Closed(facttest.Closed(), 0, facttest.Process(), owner.ByAcceptor))
}

// TestLogsOfADelegatedContainer: names that a user can forge have a resource of their own.
func TestLogsOfADelegatedContainer(t *testing.T) {
	delegated := facttest.Process()
	delegated.Container.Delegated = true
	resources := func(config metadata.LogsBuilderConfig) (marks []bool) {
		l := testLogs(config)
		require.True(t, l.Closed(facttest.Closed(), 0, delegated, owner.ByAcceptor))
		require.True(t, l.Closed(facttest.Closed(), 0, facttest.Process(), owner.ByAcceptor))
		for _, r := range l.Take().Logs.ResourceLogs().All() {
			mark, found := r.Resource().Attributes().Get("tcp.container.delegated")
			require.True(t, !found || mark.Bool(), "false is left out")
			marks = append(marks, found)
		}
		return marks
	}
	config := allEvents()
	require.ElementsMatch(t, []bool{true, false}, resources(config))

	config.ResourceAttributes.TCPContainerDelegated.Enabled = false
	require.NotContains(t, resources(config), true)

	config = allEvents()
	config.ResourceAttributes.ContainerID.Enabled = false
	config.ResourceAttributes.ServiceInstanceID.Enabled = false
	config.ResourceAttributes.K8sPodUID.Enabled = false
	require.NotContains(t, resources(config), true, "there is no name to mark")
}

func TestLogsObservedIsNotBeforeTheEvent(t *testing.T) {
	l := testLogs(allEvents())
	late := facttest.Closed()
	late.Time = facttest.Clock().UnixNano() + 5e9
	l.Closed(facttest.Closed(), 0, nil, owner.None)
	l.Closed(late, 0, nil, owner.None)
	records := l.Take().Logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
	for _, record := range records.All() {
		require.GreaterOrEqual(t, record.ObservedTimestamp(), record.Timestamp())
	}
	require.EqualValues(t, facttest.Clock().UnixNano(), records.At(0).ObservedTimestamp())
}

// TestLogsBytes compares the estimate, which bounds the queue, with what is allocated.
func TestLogsBytes(t *testing.T) {
	const records = 1000
	l := testLogs(allEvents())
	for name, add := range map[string]func(){
		"close":  func() { l.Closed(facttest.Closed(), 0, nil, owner.None) },
		"open":   func() { l.Opened(facttest.Opened(), nil, owner.None) },
		"failed": func() { l.Failed(facttest.Failed(), nil) },
		"packet": func() { l.Packet(facttest.Packet(), nil, owner.None) },
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for range records {
				add()
			}
			batch := l.Take()
			runtime.GC()
			runtime.ReadMemStats(&after)
			held := float64(after.HeapAlloc) - float64(before.HeapAlloc)
			require.InEpsilon(t, held, float64(batch.Bytes), 0.25)
			runtime.KeepAlive(batch)
		})
	}
}

// TestClosedTakesWhatIsDocumented compares docs/limits.md with the size that the queue counts for
// a close record of a connection that was not adopted.
func TestClosedTakesWhatIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/limits.md")
	require.NoError(t, err)
	documented := regexp.MustCompile(`A close record takes ([\d,]+) to\s+([\d,]+) bytes`).FindSubmatch(text)
	require.NotNil(t, documented)
	const records = 1000
	takes := func(change func(*connection.Closed)) float64 {
		l := testLogs(metadata.DefaultLogsBuilderConfig())
		c := facttest.Closed()
		c.Adopted, c.MPTCP = false, false
		change(c)
		for range records {
			require.True(t, l.Closed(c, 0, facttest.Process(), owner.ByAcceptor))
		}
		return float64(l.Bytes()) / records
	}
	for i, bytes := range []float64{
		takes(func(c *connection.Closed) { c.Reason, c.Accept = connection.CloseClientFIN, 0 }),
		takes(func(c *connection.Closed) { c.Reason, c.Flow = connection.CloseServerReset, facttest.Flow6() }),
	} {
		want, err := strconv.ParseFloat(strings.ReplaceAll(string(documented[1+i]), ",", ""), 64)
		require.NoError(t, err)
		assert.InEpsilonf(t, want, bytes, 0.01, "docs/limits.md says that a record takes %.0f bytes, it takes %.0f", want, bytes)
	}
}

// allEvents switches everything on.
func allEvents() metadata.LogsBuilderConfig {
	config := metadata.DefaultLogsBuilderConfig()
	config.Events.TCPServerConnectionOpen.Enabled = true
	return config
}

func testLogs(config metadata.LogsBuilderConfig) *Logs {
	return New(config, Options{HostName: "web-1", OwnNetNS: facttest.OwnNetNS, Instance: "k7qw3zb2mdxa", Version: "1.2.3", Now: facttest.Clock})
}
