// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// balance waits until the ledger balances and meets the condition.
func (c *collector) balance(condition func(lab.Ledger) bool) lab.Ledger {
	c.t.Helper()
	b, err := c.Balance(c.t.Context(), condition)
	require.NoError(c.t, err)
	return b
}

// holding calls a function while the collector stands still and reads nothing.
func (c *collector) holding(f func()) {
	c.t.Helper()
	c.Signal(syscall.SIGSTOP)
	defer c.Signal(syscall.SIGCONT)
	f()
}

// TestLedger causes losses at each place, and checks that every connection is accounted for:
// delivered, still open, queued or lost, and where.
func TestLedger(t *testing.T) {
	needing(t, "live")
	const port = 28100
	tests := []struct {
		name     string
		settings agentSettings
		// blackHole is a consumer that accepts connections and never answers.
		closedPort, blackHole bool
		// everyEvent puts the collector beside the server, with settings that let every
		// event happen.
		everyEvent  bool
		connections int
		held        int
		// lost is where connections must have been lost; empty when none may be.
		lost [3]string
		// raise is the setting that the warning names.
		raise string
	}{
		{name: "nothing is lost", connections: 500},
		{
			name: "every event",
			settings: agentSettings{receiver: "    events: {tcp.server.connection.open: {enabled: true}}\n" +
				"    packets: {flags: [syn, fin], max_per_second: 100000}\n" +
				"    connections: {half_open: true, handshake_timeout: 2s}"},
			everyEvent:  true,
			connections: 200,
		},
		{
			name:        "ring buffer of one page",
			settings:    agentSettings{receiver: "    limits: {ring_bytes: 4096}"},
			connections: 3000,
			lost:        [3]string{"connection", "ring", "full"},
			raise:       "limits::ring_bytes",
		},
		{
			name:        "connection map of 64 entries",
			settings:    agentSettings{receiver: "    limits: {connections: 64}"},
			connections: 100, held: 200,
			lost:  [3]string{"connection", "kernel_map", "namespace_share"},
			raise: "limits::connections",
		},
		{
			name: "consumer refuses",
			settings: agentSettings{
				receiver: "    retry_on_failure: {enabled: true, initial_interval: 100ms, max_interval: 200ms, max_elapsed_time: 1s}",
				exporter: "    sending_queue: {enabled: false}\n    retry_on_failure: {enabled: false}\n    timeout: 1s\n",
			},
			closedPort:  true,
			connections: 300,
			lost:        [3]string{"connection", "consumer", "retry_exhausted"},
			raise:       "retry_on_failure::max_elapsed_time",
		},
		{
			name: "consumer blocks",
			settings: agentSettings{
				receiver: "    queue: {max_bytes: 65536}\n    batch: {max_records: 10}",
				exporter: "    sending_queue: {enabled: false}\n    retry_on_failure: {enabled: false}\n    timeout: 1h\n",
			},
			blackHole:   true,
			connections: 3000,
			lost:        [3]string{"connection", "queue", "full"},
			raise:       "queue::max_bytes",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := newNetwork(t)
			n.server.startNginx(t, nginxPorts{port, port + 1, port + 2, port + 3, port + 4, port + 5})
			var out *sink
			var endpoint string
			switch {
			case test.closedPort:
				endpoint = fmt.Sprintf("127.0.0.1:%d", freePort(t))
			case test.blackHole:
				endpoint = blackHole(t)
			default:
				if test.everyEvent {
					test.settings.in = n.server
				}
				out = startSink(t, test.settings.in)
				endpoint = out.endpoint
			}
			agent := startAgent(t, endpoint, test.settings)
			least := map[string]int{"connection": test.connections + test.held}
			target := n.At(port)
			n.client.run(t, "ab", "-q", "-n", strconv.Itoa(test.connections), "-c", "8",
				"http://"+target.String()+"/")
			if test.held > 0 {
				n.server.startServer(t, port+10)
				crowd := n.client.act(t, "hold", n.At(port+10).String(), strconv.Itoa(test.held))
				crowd.ready(t)
			}
			if test.everyEvent {
				n.client.act(t, "syn", target.String()).End()
				least["failed"] = 1 + refuse(t, n, port+20)
				least["open"], least["packet"] = test.connections, 2*test.connections
			}

			b := agent.balance(func(b lab.Ledger) bool {
				for event, n := range least {
					if b[event].Produced < float64(n) {
						return false
					}
				}
				return test.lost == [3]string{} || losses(b)[test.lost] > 0
			})
			if test.lost == [3]string{} {
				assert.Empty(t, losses(b), "nothing may be lost")
			}
			agent.stop()
			agent.checkWarnings(test.lost, test.raise)
			if out != nil {
				out.stop()
				checkDelivered(t, out, b, port)
			}
		})
	}
}

// checkWarnings: a warning names place, reason and the setting to raise, and is rare.
func (c *collector) checkWarnings(lost [3]string, raise string) {
	c.t.Helper()
	assert.Contains(c.t, c.said(), "limits in effect")
	warnings := strings.Count(c.said(), "events were lost since the last such warning")
	if raise == "" {
		assert.Zero(c.t, warnings)
		return
	}
	assert.Contains(c.t, c.said(), fmt.Sprintf("%s at %s: %s, raise %s", lost[0], lost[1], lost[2], raise))
	assert.LessOrEqual(c.t, warnings, 4, "one when it happens, one every 30 s, and one at the end")
}

// eventNames are the names of the log records by the event in the ledger.
var eventNames = map[string]string{
	"connection": "tcp.server.connection.close", "failed": "tcp.server.connection.failed",
	"open": "tcp.server.connection.open", "packet": "tcp.server.packet",
}

// checkDelivered compares delivered events in the ledger with those that arrived. The host
// has connections of its own until the end, so more may have arrived.
func checkDelivered(t *testing.T, out *sink, b lab.Ledger, port int) {
	t.Helper()
	for event, name := range eventNames {
		arrived := out.records(t, func(r record) bool { return r.event == name })
		assert.GreaterOrEqual(t, float64(len(arrived)), b[event].Delivered, name)
	}
	assert.NotEmpty(t, out.records(t, at("tcp.server.connection.close", port)))
}

// losses are the number of lost events by event, place and reason.
func losses(b lab.Ledger) map[[3]string]float64 {
	found := map[[3]string]float64{}
	for event, a := range b {
		for loss, n := range a.Losses {
			found[[3]string{event, loss.Place, loss.Reason}] = n
		}
	}
	return found
}

// blackHole accepts connections, reads nothing and says nothing.
func blackHole(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}
