// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// clock is a time that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{time.Unix(1_000_000, 0)} }

func add(ld plog.Logs, name string, severity plog.SeverityNumber, attributes map[string]any) {
	r := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	r.SetEventName(name)
	r.SetSeverityNumber(severity)
	_ = r.Attributes().FromRaw(attributes)
}

func closed(client string, port int, received int64) map[string]any {
	return map[string]any{
		"client.address": client, "server.port": port, "process.executable.name": "nginx",
		"tcp.receive.size": received, "tcp.transmit.size": 1000, "tcp.rtt.min": 0.001, "tcp.close.reason": "client_fin",
	}
}

func TestLogs(t *testing.T) {
	c := newClock()
	m := New(c.now)
	ld := plog.NewLogs()
	for range 3 {
		add(ld, "tcp.server.connection.close", plog.SeverityNumberInfo, closed("10.0.0.1", 80, 5000))
	}
	add(ld, "tcp.server.connection.close", plog.SeverityNumberInfo, closed("10.0.0.2", 80, 100))
	add(ld, "tcp.server.connection.failed", plog.SeverityNumberWarn, map[string]any{
		"client.address": "10.0.0.3", "server.port": 81, "error.type": "refused",
	})
	for _, status := range []int{200, 200, 500} {
		attributes := map[string]any{
			"client.address": "10.0.0.1", "network.local.port": 80, "process.executable.name": "nginx",
			"http.request.method": "GET", "url.path": "/a", "http.response.status_code": status, "tcp.http.duration": 0.1,
		}
		if status == 500 {
			attributes["error.type"] = "500"
		}
		add(ld, "tcp.server.http.request", plog.SeverityNumberInfo, attributes)
	}
	finding := map[string]any{"client.address": "10.0.0.3", "security_rule.name": "port_scan", "tcp.threat.state": "begin"}
	add(ld, "tcp.server.threat", plog.SeverityNumberWarn, finding)
	finding["tcp.threat.state"] = "end"
	add(ld, "tcp.server.threat", plog.SeverityNumberWarn, finding)
	add(ld, "tcp.server.source", plog.SeverityNumberInfo, map[string]any{"client.address": "10.0.0.3"})
	m.Logs(ld)
	c.at = c.at.Add(time.Second)
	s := m.Snapshot()

	require.Len(t, s.Services, 1)
	assert.Equal(t, ServiceKey{Port: 80, Process: "nginx"}, s.Services[0].ServiceKey)
	assert.InDelta(t, 3, s.Services[0].Requests, 0)
	assert.InDelta(t, 1, s.Services[0].Errors, 0)
	assert.InEpsilon(t, 0.1, float64(s.Services[0].Answer), 0.1)
	assert.InEpsilon(t, 0.001, float64(s.Services[0].RTT), 0.1)
	require.Len(t, s.Clients, 3)
	assert.Equal(t, "10.0.0.1", s.Clients[0].Address)
	assert.Equal(t, int64(18_000), s.Clients[0].Bytes)
	assert.Equal(t, int64(3), s.Clients[0].Connections)
	assert.Equal(t, int64(3), s.Clients[0].Requests)
	require.Len(t, s.Failures, 2)
	assert.Equal(t, Failure{80, "nginx", "500", 1, "10.0.0.1", c.at.Add(-time.Second)}, s.Failures[0])
	assert.Equal(t, Failure{81, "", "refused", 1, "10.0.0.3", c.at.Add(-time.Second)}, s.Failures[1])
	require.Len(t, s.Requests, 1)
	assert.Equal(t, "GET /a", s.Requests[0].What)
	assert.Equal(t, int64(1), s.Requests[0].Errors)
	require.Len(t, s.Findings, 1, "one row for a rule and a client")
	assert.Equal(t, "end", s.Findings[0].State)
	assert.Len(t, s.Events, 10, "counts per source are for programs")
}

func TestEventsKeepTheLast(t *testing.T) {
	m := New(newClock().now)
	for i := range maxEvents + 5 {
		ld := plog.NewLogs()
		add(ld, "tcp.server.connection.open", plog.SeverityNumberInfo, map[string]any{"process.pid": i})
		m.Logs(ld)
	}
	events := m.Snapshot().Events
	require.Len(t, events, maxEvents)
	assert.Equal(t, int64(5), events[0].PID)
	assert.Equal(t, int64(maxEvents+4), events[maxEvents-1].PID)
}

// sums is one snapshot of metrics: values by name, of port 80 of a container. IPv4 and IPv6 have
// half each.
func sums(start, at time.Time, instance string, values map[string]int64) pmetric.Metrics {
	md := pmetric.NewMetrics()
	resource := md.ResourceMetrics().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.instance.id", instance)
	metrics := resource.ScopeMetrics().AppendEmpty().Metrics()
	for name, value := range values {
		metric := metrics.AppendEmpty()
		metric.SetName(name)
		points := metric.SetEmptySum().DataPoints()
		for _, network := range []string{"ipv4", "ipv6"} {
			point := points.AppendEmpty()
			point.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
			point.SetTimestamp(pcommon.NewTimestampFromTime(at))
			point.SetIntValue(value / 2)
			_ = point.Attributes().FromRaw(map[string]any{
				"server.port": 80, "process.executable.name": "nginx", "network.type": network, "network.io.direction": "transmit",
			})
		}
	}
	return md
}

// watched is a model that gets snapshots each second.
type watched struct {
	*clock
	*Model
	t     *testing.T
	start time.Time
}

func watch(t *testing.T, began time.Duration) *watched {
	t.Helper()
	c := newClock()
	m := New(c.now)
	w := &watched{c, m, t, c.at.Add(began)}
	c.at = c.at.Add(time.Second)
	return w
}

func (w *watched) take(instance string, values map[string]int64) {
	w.Metrics(sums(w.start, w.at, instance, values))
}

// second lets one pass, and returns the only service.
func (w *watched) second() Service {
	w.t.Helper()
	w.at = w.at.Add(time.Second)
	services := w.Snapshot().Services
	require.Len(w.t, services, 1)
	return services[0]
}

func TestMetrics(t *testing.T) {
	for name, of := range map[string]struct{ began, first time.Duration }{
		"began with the model":   {0, 100},
		"began before the model": {-time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := watch(t, of.began)
			w.take("a", map[string]int64{
				"tcp.server.connection.active": 8, "tcp.server.connection.opened": 100, "tcp.server.accept_queue.limit": 512,
			})
			s := w.second()
			assert.Equal(t, int64(8), s.Open)
			assert.Equal(t, int64(512), s.Limit)
			assert.Equal(t, int64(-1), s.Queued, "not in the snapshot: unknown")
			assert.InDelta(t, float64(of.first), s.Opened, 0)
			w.take("a", map[string]int64{"tcp.server.connection.opened": 110, "tcp.server.io": 0})
			assert.InDelta(t, 0, w.second().Open, 0)
			w.start = w.at.Add(-time.Second)
			w.take("a", map[string]int64{"tcp.server.connection.opened": 6, "tcp.server.io": 3000})
			s = w.second()
			n := map[bool]float64{true: 3, false: 2}[of.first > 0] // seconds since the first count
			assert.InDelta(t, (float64(of.first)+10+6)/n, s.Opened, 1e-9, "one that begins again counts from 0")
			assert.Positive(t, s.Sent)
		})
	}
}

// TestMetricsOfContainers: series of two containers of one port are not taken for one that begins
// again with each snapshot.
func TestMetricsOfContainers(t *testing.T) {
	w := watch(t, -time.Hour)
	for range 15 {
		w.take("a", map[string]int64{"tcp.server.connection.opened": 1000, "tcp.server.connection.active": 4})
		w.take("b", map[string]int64{"tcp.server.connection.opened": 6, "tcp.server.connection.active": 2})
		s := w.second()
		assert.Zero(t, s.Opened)
		assert.Equal(t, int64(6), s.Open, "two messages of one snapshot")
	}
}

func TestMetricsThatAreNoNumbers(t *testing.T) {
	w := watch(t, 0)
	for _, value := range []float64{math.Inf(1), math.NaN(), -math.MaxFloat64, 12} {
		md := sums(w.start, w.at, "a", map[string]int64{"tcp.server.connection.opened": 0, "tcp.server.connection.active": 0})
		for _, m := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
			m.Sum().DataPoints().At(0).SetDoubleValue(value)
		}
		w.Metrics(md)
		s := w.second()
		assert.False(t, math.IsNaN(s.Opened) || math.IsInf(s.Opened, 0), "%v", s.Opened)
	}
	assert.Equal(t, int64(12), w.Snapshot().Services[0].Open)
}

// TestHeavyClientStays among a flood of others.
func TestHeavyClientStays(t *testing.T) {
	m := New(newClock().now)
	ld := plog.NewLogs()
	add(ld, "tcp.server.connection.update", plog.SeverityNumberInfo, closed("192.0.2.1", 80, 4e9))
	add(ld, "tcp.server.connection.close", plog.SeverityNumberInfo, closed("192.0.2.1", 80, 6e9))
	for i := range 4 * maxClients {
		for range 3 {
			add(ld, "tcp.server.connection.failed", plog.SeverityNumberWarn, map[string]any{
				"client.address": fmt.Sprintf("10.0.%d.%d", i>>8, i&255), "server.port": 81, "error.type": "refused",
			})
		}
	}
	m.Logs(ld)
	first := m.Snapshot().Clients[0]
	assert.Equal(t, "192.0.2.1", first.Address)
	assert.Equal(t, int64(10e9+2000), first.Bytes)
	assert.Equal(t, int64(1), first.Connections)
}

// TestMemoryIsBounded gives the model a scan of all ports, a million clients and as many paths.
func TestMemoryIsBounded(t *testing.T) {
	c := newClock()
	m := New(c.now)
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	flood := func(from, to int) {
		for i := from; i < to; i += 1000 {
			ld := plog.NewLogs()
			for j := i; j < i+1000; j++ {
				client := fmt.Sprintf("10.%d.%d.%d", j>>16&255, j>>8&255, j&255)
				add(ld, "tcp.server.connection.close", plog.SeverityNumberInfo, closed(client, j%65536, 1))
				add(ld, "tcp.server.connection.failed", plog.SeverityNumberWarn, map[string]any{
					"client.address": client, "server.port": j % 65536, "error.type": "refused",
				})
				add(ld, "tcp.server.http.request", plog.SeverityNumberInfo, map[string]any{
					"client.address": client, "network.local.port": 80, "http.request.method": "GET", "url.path": fmt.Sprint("/", j),
				})
			}
			m.Logs(ld)
			c.at = c.at.Add(time.Millisecond)
		}
	}
	flood(0, 30_000)
	before := heap()
	flood(30_000, 100_000)
	after := heap()
	assert.LessOrEqual(t, after, before+before/4+1<<20)
	s := m.Snapshot()
	assert.Len(t, s.Services, maxServices)
	assert.LessOrEqual(t, len(s.Clients), 2*maxClients)
	assert.GreaterOrEqual(t, len(s.Clients), maxClients)
	assert.Len(t, s.Failures, maxFailures)
	assert.Len(t, s.Requests, maxRoutes)
	assert.Positive(t, s.LeftOut)
	c.at = c.at.Add(forgotten + time.Minute)
	m.Metrics(pmetric.NewMetrics())
	assert.Empty(t, m.Snapshot().Services)
}
