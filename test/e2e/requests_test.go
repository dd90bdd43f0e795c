// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

const requestEvent = "tcp.server.http.request"

// inspecting are the settings of a receiver beside the server that inspects a port.
func inspecting(n *network, port int, more string) agentSettings {
	return agentSettings{
		in:       n.server,
		receiver: "    inspect: {http: {ports: [" + strconv.Itoa(port) + "]}}\n    limits: {" + more + "}",
	}
}

// requestsFor matches the records of requests for a path.
func requestsFor(path string) func(record) bool {
	return func(r record) bool { return r.event == requestEvent && r.values["url.path"] == path }
}

// TestRequests: every request to nginx is a record and an observation, and the books of
// segments and requests balance.
func TestRequests(t *testing.T) {
	const port, requests = 28300, 2000
	n := newNetwork(t)
	n.server.startNginx(t, nginxPorts{port, port + 1, port + 2, port + 3, port + 4, port + 5})
	out := startSink(t, n.server)
	agent := startAgent(t, out.endpoint, inspecting(n, port+4, ""))
	n.client.run(t, "ab", "-q", "-k", "-n", strconv.Itoa(requests), "-c", "8", "http://"+n.At(port+4).String()+"/path?key=value")
	n.client.run(t, "curl", "-s", "-o", "/dev/null", "-H", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"http://"+n.At(port+4).String()+"/traced")
	b := agent.balance(func(b lab.Ledger) bool { return b["request"].Produced >= requests+1 })
	assert.Empty(t, losses(b), "nothing may be lost")
	assert.EqualValues(t, requests+1, b["request"].Delivered)
	assert.NotZero(t, b["segment"].Delivered)
	agent.stop()
	out.stop()

	require.Len(t, out.records(t, requestsFor("/traced")), 1)
	records := out.records(t, requestsFor("/path"))
	require.Len(t, records, requests)
	for _, r := range records {
		assert.Equal(t, "GET", r.values["http.request.method"])
		assert.Equal(t, "key=REDACTED", r.values["url.query"])
		assert.EqualValues(t, 200, r.number(t, "http.response.status_code"))
		assert.NotContains(t, r.values, "error.type")
		assert.Contains(t, r.values, "tcp.http.duration")
		assert.Equal(t, "nginx", r.values["process.executable.name"])
	}
	duration := out.total(t, func(p point) bool { return p.metric == "http.server.request.duration" })
	assert.EqualValues(t, requests+1, duration.count)
}

// TestRequestsBeyondTheRing: what finds no room in the ring buffer is lost by segment, and what
// is left balances.
func TestRequestsBeyondTheRing(t *testing.T) {
	const port = 28310
	n := newNetwork(t)
	n.server.startNginx(t, nginxPorts{port, port + 1, port + 2, port + 3, port + 4, port + 5})
	out := startSink(t, n.server)
	agent := startAgent(t, out.endpoint, inspecting(n, port+4, "inspect_ring_bytes: 4096"))
	n.client.run(t, "ab", "-q", "-k", "-n", "3000", "-c", "8", "http://"+n.At(port+4).String()+"/")
	lost := [3]string{"segment", "ring", "full"}
	b := agent.balance(func(b lab.Ledger) bool { return losses(b)[lost] > 0 && b["request"].Produced > 0 })
	assert.Less(t, b["request"].Delivered, float64(3000))
	agent.stop()
	agent.checkWarnings(lost, "limits::inspect_ring_bytes")
}
