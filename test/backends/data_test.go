// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package backends

import (
	"fmt"
	"math"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestBackends sends real traffic to services, and asks all backends about it.
func TestBackends(t *testing.T) {
	w := newTown(t)
	s := startSystem(t, receiver)
	w.open()
	// Series that a scraper sees begin before there is anything to count.
	s.eventually(t, s.prometheus, `count(tcp_server_connection_opened_total{via="scrape", server_port="29301"})`, 1)
	w.live()
	for _, m := range s.both() {
		s.eventually(t, m, fmt.Sprintf(`sum(tcp_server_connection_opened_total{via="", server_port="%d"})`, boxedPort), boxedVisits)
		s.eventually(t, m, fmt.Sprintf(`sum(tcp_server_connection_closed_total{via="", server_port="%d"})`, boxedPort), boxedVisits)
		s.eventually(t, m, `sum(tcp_server_connection_failed_total{via="", error_type="refused"})`, knocks)
	}
	t.Run("counts", func(t *testing.T) { testCounts(t, s, w) })
	t.Run("increase", func(t *testing.T) { testIncrease(t, s) })
	t.Run("reasons", func(t *testing.T) { testReasons(t, s) })
	t.Run("services", func(t *testing.T) { testServices(t, s) })
	t.Run("scrape", func(t *testing.T) { testScrape(t, s) })
	t.Run("attempts", func(t *testing.T) { testAttempts(t, s) })
	t.Run("questions", func(t *testing.T) { testQuestions(t, s, w) })
	t.Run("restart", func(t *testing.T) { testRestart(t, s, w) })
	t.Run("expiry", func(t *testing.T) { testExpiry(t, s, w) })
}

// receiver is its configuration. It sees the services and what the tests do to them, and not the
// backends. The accept queue's times come from a tracepoint where nothing else gives them.
const receiver = `
    ports: {include: ["29300-29399"]}
    interfaces: {network_namespaces: ["/run/netns/ebpftcp-s*"]}
    connections: {half_open: true, handshake_timeout: 1s}
    attribution: {accept_tracepoint: true}
    inspect: {http: {ports: [29300]}}
`

// eventually waits until a query has a value.
func (s *system) eventually(t *testing.T, m metrics, query string, want float64) {
	t.Helper()
	eventually(t, m.name+": "+query, func() (bool, string) {
		got, err := m.value(query)
		return err == nil && got == want, fmt.Sprint(got, " instead of ", want, " ", err)
	})
}

// near waits until a query has a value, with what increase() extrapolates. That is the less, the
// longer the series.
func (s *system) near(t *testing.T, m metrics, query string, want float64) {
	t.Helper()
	eventually(t, m.name+": "+query, func() (bool, string) {
		got, err := m.value(query)
		return err == nil && math.Abs(got-want) <= 0.1*want, fmt.Sprint(got, " instead of ", want, " ", err)
	})
}

// ask is the value of a query, which must have one series.
func ask(t *testing.T, m metrics, query string, arguments ...any) float64 {
	t.Helper()
	query = fmt.Sprintf(query, arguments...)
	got, err := m.value(query)
	require.NoError(t, err, "%s: %s", m.name, query)
	require.False(t, math.IsNaN(got), "%s has no series for %s", m.name, query)
	return got
}

// visited are the services with orderly or reset connections.
var visited = map[int]struct {
	service, reason string
	connections     int
}{
	webPort:      {"nginx", "server_fin", webVisits},
	closerPort:   {"closer", "server_fin", closerVisits},
	waiterPort:   {"waiter", "client_fin", waiterVisits},
	resetterPort: {"resetter", "server_reset", resetterVisits},
	slowPort:     {"slow", "server_fin", slowVisits},
	boxedPort:    {"boxed", "server_fin", boxedVisits},
	hostilePort:  {shown, "server_fin", hostileVisits},
}

// testCounts: clients, logs and each metrics backend have exactly the same counts.
func testCounts(t *testing.T, s *system, w *town) {
	for port, v := range visited {
		for _, m := range s.both() {
			for _, metric := range []string{"connection_opened_total", "connection_closed_total", "connection_duration_seconds_count", "rtt_seconds_count"} {
				assert.EqualValues(t, v.connections, ask(t, m, `sum(tcp_server_%s{via="", server_port="%d"})`, metric, port), "%s: %s of %s", m.name, metric, v.service)
			}
			bytes := func(direction string) float64 {
				return ask(t, m, `sum(tcp_server_io_bytes_total{via="", server_port="%d", network_io_direction="%s"})`, port, direction)
			}
			assert.EqualValues(t, w.did[port].Sent, bytes("receive"), "%s of %s", m.name, v.service)
			assert.EqualValues(t, w.did[port].Received, bytes("transmit"), "%s of %s", m.name, v.service)
		}
		n, err := s.logs.count(fmt.Sprintf(`event_name:="tcp.server.connection.close" "server.port":=%d`, port))
		require.NoError(t, err)
		assert.Equal(t, v.connections, n, "records of %s", v.service)
	}
}

// testIncrease: increase() has the first connections of a service, which come between two
// snapshots.
func testIncrease(t *testing.T, s *system) {
	for port, v := range visited {
		for _, m := range s.both() {
			for _, metric := range []string{"connection_opened_total", "connection_closed_total", "rtt_seconds_count"} {
				s.near(t, m, fmt.Sprintf(`sum(increase(tcp_server_%s{via="", server_port="%d"}[5m]))`, metric, port), float64(v.connections))
			}
		}
	}
	for _, m := range s.both() {
		s.near(t, m, `sum(increase(tcp_server_connection_failed_total{via="", error_type="refused"}[5m]))`, knocks)
	}
}

// testReasons: how connections end is a metric, and orderly ends are no drops.
func testReasons(t *testing.T, s *system) {
	for port, v := range visited {
		for _, m := range s.both() {
			assert.EqualValues(t, v.connections, ask(t, m,
				`sum(tcp_server_connection_closed_total{via="", server_port="%d", tcp_close_reason="%s"})`, port, v.reason), "%s of %s", m.name, v.service)
			if v.reason != "server_reset" {
				drops, err := m.vector(fmt.Sprintf(`tcp_server_drops_total{server_port="%d"} > 0`, port))
				require.NoError(t, err)
				assert.Empty(t, drops)
			}
		}
	}
}

// testServices: a service has a name, in metrics and in logs.
func testServices(t *testing.T, s *system) {
	for port, v := range visited {
		assert.EqualValues(t, v.connections, ask(t, s.prometheus, `sum(tcp_server_connection_opened_total{via="", job=%+q, server_port="%d"})`, v.service, port))
		host := ask(t, s.prometheus,
			`count(tcp_server_connection_opened_total{via="", server_port="%d"} * on (job, instance) group_left (host_name) target_info{via=""})`, port)
		assert.EqualValues(t, 1, host, "the join with target_info")
		records, err := s.logs.rows(fmt.Sprintf(`event_name:="tcp.server.connection.close" "server.port":=%d`, port))
		require.NoError(t, err)
		assert.Len(t, records, v.connections)
		for _, record := range records {
			assert.Equal(t, v.service, record["service.name"])
		}
	}
	boxed := ask(t, s.prometheus, `count(target_info{via="", job="boxed", container_id="%s"})`, container)
	assert.EqualValues(t, 1, boxed)
}

// testScrape: a scraper has the same counts, without labels that say the same thrice.
func testScrape(t *testing.T, s *system) {
	all, err := s.prometheus.vector(`{__name__=~"tcp_server_.+", via="scrape"}`)
	require.NoError(t, err)
	require.NotEmpty(t, all)
	for _, one := range all {
		for label := range one.Labels {
			assert.False(t, strings.HasPrefix(label, "exported_") || strings.HasPrefix(label, "otel_scope"), "label %s", label)
			assert.NotEqual(t, "service_instance_id", label)
		}
	}
	for port, v := range visited {
		assert.EqualValues(t, v.connections, ask(t, s.prometheus, `sum(tcp_server_connection_opened_total{via="scrape", job=%+q, server_port="%d"})`, v.service, port))
		s.near(t, s.prometheus, fmt.Sprintf(`sum(increase(tcp_server_connection_opened_total{via="scrape", server_port="%d"}[5m]))`, port), float64(v.connections))
	}
}

// testAttempts: records of failed attempts have the listener's executable and resource.
func testAttempts(t *testing.T, s *system) {
	refused, err := s.logs.rows(`event_name:="tcp.server.connection.failed" "error.type":=refused`)
	require.NoError(t, err)
	assert.Len(t, refused, knocks)
	for _, record := range refused {
		assert.NotContains(t, record, "process.executable.name")
		assert.NotContains(t, record, "service.name")
	}
	for _, m := range s.both() {
		s.eventually(t, m, `sum(tcp_server_connection_failed_total{via="", error_type="handshake_timeout", process_executable_name="nginx"})`, halfOpen)
	}
	eventually(t, "records of half-open attempts", func() (bool, string) {
		n, err := s.logs.count(`event_name:="tcp.server.connection.failed" "error.type":=handshake_timeout "process.executable.name":=nginx "service.name":=nginx`)
		return n == halfOpen, fmt.Sprint(n, err)
	})
	for _, m := range s.both() {
		assert.Positive(t, ask(t, m, `sum(tcp_server_accept_queue_overflows_total{via=""})`), m.name)
	}
}

// testRestart: while a backend is down, its records wait in the exporter's queue.
func testRestart(t *testing.T, s *system, w *town) {
	require.NoError(t, s.logs.process.Stop(syscall.SIGTERM))
	w.visit(waiterPort, heldVisits, leavePath)
	s.eventually(t, s.victoria, fmt.Sprintf(`sum(tcp_server_connection_closed_total{via="", server_port="%d"})`, waiterPort), waiterVisits+heldVisits)
	s.startLogs()
	eventually(t, "records that waited", func() (bool, string) {
		n, err := s.logs.count(fmt.Sprintf(`event_name:="tcp.server.connection.close" "server.port":=%d`, waiterPort))
		return n == waiterVisits+heldVisits, fmt.Sprint(n, err)
	})
}

// testExpiry: the first connections of a service count, and those after its series expired, too.
func testExpiry(t *testing.T, s *system, w *town) {
	opened := fmt.Sprintf(`tcp_server_connection_opened_total{via="", server_port="%d"}`, againPort)
	for round := 1; round <= 2; round++ {
		server := w.serve("again", "serve", "end", w.At(againPort).String())
		w.visit(againPort, againVisits, "/")
		for _, m := range s.both() {
			s.eventually(t, m, "sum("+opened+")", againVisits)
			s.near(t, m, fmt.Sprintf("sum(increase(%s[5m]))", opened), float64(round*againVisits))
		}
		server.End()
		// Expired series are no longer sent.
		eventually(t, "series expire", func() (bool, string) {
			age, err := s.prometheus.value(fmt.Sprintf("time() - max(timestamp(%s))", opened))
			return err == nil && age > 3, fmt.Sprint(age, err)
		})
	}
}
