// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// gatewayServers are a gateway with Kong's header fields, and its upstream on loopback. The
// gateway tells the upstream of its client what Kong does.
const gatewayServers = `
	upstream behind { server 127.0.0.1:%[2]d; keepalive 16; }
	server {
		listen %[1]d;
		keepalive_timeout 60s; keepalive_requests 100000;
		location / {
			proxy_pass http://behind;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header X-Kong-Request-Id $request_id;
			proxy_set_header X-Consumer-Username alice;
			proxy_set_header X-Forwarded-For $remote_addr;
			add_header X-Kong-Request-Id $request_id always;
			add_header X-Kong-Proxy-Latency 2 always;
			add_header X-Kong-Upstream-Status $upstream_status always;
			add_header X-RateLimit-Remaining-Minute 4 always;
			add_header Via "1.1 kong/3.9.1" always;
		}
		location /hang { proxy_pass http://127.0.0.1:%[3]d; }
	}
	server {
		listen 127.0.0.1:%[2]d;
		keepalive_timeout 60s; keepalive_requests 100000;
		location / { return 200 "from upstream\n"; }
		location /teapot { return 418; }
	}
`

// startGateway serves until the test ends.
func (ns namespace) startGateway(t *testing.T, port int) {
	t.Helper()
	web, err := lab.StartWebServer(t.Context(), ns.Namespace, lab.WebConfiguration{
		Main: "user root; worker_processes 2;", HTTP: fmt.Sprintf(gatewayServers, port, port+1, port+2),
		Connections: 512, Port: port,
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, web.Close()) })
}

// TestGateway: each request to a gateway is tied to the one that it made to its upstream on the
// same host, and its own share is what is left of the duration.
func TestGateway(t *testing.T) {
	const port, requests = 28370, 2000
	n := newNetwork(t)
	n.server.act(t, "deaf", fmt.Sprintf("127.0.0.1:%d", port+2), "16").ready(t)
	n.server.startGateway(t, port)
	out := startSink(t, n.server)
	agent := startAgent(t, out.endpoint, agentSettings{in: n.server, receiver: fmt.Sprintf(`
    inspect:
      http:
        ports: [%d]
        gateways: {kong: {ports: [%d]}}
        trusted_proxies: [127.0.0.1]
        routes: {patterns: ["/users/{id}"], automatic: {enabled: true}}
    metrics: {http.server.active_requests: {enabled: true}}
`, port+1, port)})
	at := "http://" + n.At(port).String()
	n.client.run(t, "ab", "-q", "-k", "-n", strconv.Itoa(requests), "-c", "8", at+"/users/alice")
	n.client.run(t, "curl", "-s", "-o", "/dev/null", "-H", "X-Kong-Request-Id: forged-by-the-client", "-H", "X-Consumer-Username: mallory", at+"/teapot")
	hanging, err := lab.Start(n.client.Command("curl", "-s", at+"/hang"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, hanging.Stop(syscall.SIGKILL)) })
	const all = 2 * (requests + 1)
	b := agent.balance(func(b lab.Ledger) bool { return b["request"].Produced >= all })
	assert.Empty(t, losses(b), "nothing may be lost")
	assert.EqualValues(t, all, b["request"].Delivered)
	active := func() float64 {
		return out.total(t, func(p point) bool {
			return p.metric == "http.server.active_requests" && p.values["http.request.method"] == "GET" && p.number(t, "server.port") == port
		}).value
	}
	assert.Eventually(t, func() bool { return active() == 1 }, settle, tick, "one request hangs")
	require.NoError(t, hanging.Stop(syscall.SIGKILL))
	agent.balance(func(b lab.Ledger) bool { return b["request"].Produced >= all+1 })
	assert.Eventually(t, func() bool { return active() == 0 }, settle, tick, "none is left")
	agent.stop()
	out.stop()

	checkTies(t, out.records(t, func(r record) bool { return r.event == requestEvent && r.values["url.path"] != "/hang" }), port, all)
	for _, r := range out.records(t, requestsFor("/teapot")) {
		assert.EqualValues(t, 418, r.number(t, "http.response.status_code"))
		assert.NotContains(t, r.values, "http.route", "nothing is learned from such an answer")
	}
	duration := out.total(t, func(p point) bool {
		return p.metric == "http.server.request.duration" && p.values["http.route"] == "/users/{id}"
	})
	assert.EqualValues(t, 2*requests, duration.count)
}

// checkTies holds each record of a gateway against that of its upstream.
func checkTies(t *testing.T, records []record, port, all int) {
	t.Helper()
	require.Len(t, records, all)
	upstream := map[any]record{}
	for _, r := range records {
		if r.number(t, "network.local.port") == float64(port+1) {
			upstream[r.values["tcp.gateway.request.id"]] = r
		}
	}
	require.Len(t, upstream, all/2, "each has an id of its own")
	for _, r := range records {
		if r.number(t, "network.local.port") != float64(port) {
			continue
		}
		u, found := upstream[r.values["tcp.gateway.request.id"]]
		require.True(t, found, "%v", r.values)
		assert.Equal(t, u.values["tcp.connection.id"], r.values["tcp.gateway.upstream.connection.id"])
		assert.InDelta(t, r.number(t, "tcp.http.duration"),
			r.number(t, "tcp.gateway.own.duration")+u.number(t, "tcp.http.duration"), 1e-9)
		for _, one := range []record{r, u} {
			assert.Equal(t, "kong", one.values["tcp.gateway.name"])
			assert.Equal(t, "alice", one.values["user.name"])
			assert.Equal(t, r.values["url.path"], one.values["url.path"])
		}
		assert.Equal(t, r.number(t, "http.response.status_code"), r.number(t, "tcp.gateway.upstream.status_code"))
		assert.InDelta(t, 0.002, r.number(t, "tcp.gateway.proxy.duration"), 1e-9)
		assert.EqualValues(t, 4, r.number(t, "tcp.gateway.rate_limit.minute.remaining"))
		assert.Equal(t, "3.9.1", r.values["tcp.gateway.version"])
		assert.Equal(t, r.values["network.peer.address"], u.values["client.address"], "from X-Forwarded-For")
		assert.NotContains(t, r.values, "tcp.gateway.upstream.duration", "the gateway was told not to send it")
	}
}

// TestKongExample runs the example, with nginx in the place of Kong as its comment says.
func TestKongExample(t *testing.T) {
	n := newNetwork(t)
	configuration, err := filepath.Abs("../../examples/kong-nginx.conf")
	require.NoError(t, err)
	web, err := lab.Start(n.server.Command("nginx", "-p", t.TempDir(), "-c", configuration))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, web.Stop(syscall.SIGTERM)) })
	example, err := os.ReadFile("../../examples/kong.yaml")
	require.NoError(t, err)
	agent := startExample(t, n.server, string(example))
	// The records of requests to Kong and to its upstream.
	require.Eventually(t, func() bool {
		n.client.run(t, "curl", "-s", "-o", "/dev/null", "--retry", "5", "--retry-connrefused", "http://"+n.At(8000).String()+"/users/42")
		said := agent.said()
		return strings.Contains(said, "tcp.gateway.own.duration=") && strings.Contains(said, "http.route=/users/{id}") &&
			strings.Contains(said, "user.name=alice")
	}, settle, tick)
}
