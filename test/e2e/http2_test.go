// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// TestHTTP2Downloads: DATA does not cross, however fast it comes, and hides no frame.
func TestHTTP2Downloads(t *testing.T) {
	const port, size, requests = 28340, 32 << 20, 12
	n := newNetwork(t)
	root := t.TempDir()
	require.NoError(t, os.Chmod(root, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "large"), make([]byte, size), 0o644))
	web, err := lab.StartWebServer(t.Context(), n.server.Namespace, lab.WebConfiguration{
		Main: "user root; worker_processes 1;",
		HTTP: fmt.Sprintf(`
			server { listen %d http2; root %s; sendfile on; }
			server { listen %d; return 200 "one"; }`, port, root, port+1),
		Connections: 512, Port: port + 1,
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, web.Close()) })
	out := startSink(t, n.server)
	agent := startAgent(t, out.endpoint, inspecting(n, port, ""))
	at := "http://" + n.At(port).String()
	n.client.run(t, "h2load", "-n", strconv.Itoa(requests), "-c", "2", "-m", "3", at+"/large")
	started := time.Now()
	n.client.run(t, "curl", "-sS", "--fail", "-o", "/dev/null", "--http2-prior-knowledge", "--limit-rate", "20M", at+"/large?at=20M")
	longest := time.Since(started)
	b := agent.balance(func(b lab.Ledger) bool { return b["request"].Produced >= requests+1 })
	assert.Empty(t, losses(b), "nothing may be lost")
	assert.EqualValues(t, requests+1, b["request"].Delivered)
	// Each DATA frame of nginx has 8 KiB, so a hundredth of them at most.
	assert.Less(t, b["segment"].Delivered, float64((requests+1)*size/8192/20))
	agent.stop()
	out.stop()

	records := out.records(t, requestsFor("/large"))
	require.Len(t, records, requests+1)
	slow := 0
	for _, r := range records {
		assert.EqualValues(t, 200, r.number(t, "http.response.status_code"))
		assert.EqualValues(t, size, r.number(t, "http.response.body.size"))
		assert.NotContains(t, r.values, "error.type")
		if r.values["url.query"] != nil {
			slow++
			duration := r.number(t, "tcp.http.duration")
			assert.Greater(t, duration, 1.0, "%d bytes at 20 MB/s", size)
			assert.Less(t, duration, longest.Seconds())
		}
	}
	assert.Equal(t, 1, slow)
}

// TestHTTP2: each stream of nginx without TLS is a request, with curl and with 16 streams at a
// time of h2load, and HTTP/1 on the same port goes on.
func TestHTTP2(t *testing.T) {
	const port, requests, size = 28330, 2000, 200
	n := newNetwork(t)
	web, err := lab.StartWebServer(t.Context(), n.server.Namespace, lab.WebConfiguration{
		Main: "user root; worker_processes 1;",
		HTTP: fmt.Sprintf(`
			keepalive_requests 100000;
			server { listen %d http2; return 200 "%0*d"; }
			server { listen %d; return 200 "one"; }`, port, size, 0, port+1),
		Connections: 512, Port: port + 1,
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, web.Close()) })
	out := startSink(t, n.server)
	agent := startAgent(t, out.endpoint, agentSettings{
		in:       n.server,
		receiver: fmt.Sprintf("    inspect: {http: {ports: [%d, %d]}}", port, port+1),
	})
	at := "http://" + n.At(port).String()
	n.client.run(t, "h2load", "-n", strconv.Itoa(requests), "-c", "2", "-m", "16", at+"/load?id=7")
	for _, path := range []string{"/first", "/second"} {
		n.client.run(t, "curl", "-sS", "--fail", "-o", "/dev/null", "--http2-prior-knowledge", at+path)
	}
	n.client.run(t, "curl", "-sS", "--fail", "-o", "/dev/null", "http://"+n.At(port+1).String()+"/one")
	b := agent.balance(func(b lab.Ledger) bool { return b["request"].Produced >= requests+3 })
	assert.Empty(t, losses(b), "nothing may be lost")
	assert.EqualValues(t, requests+3, b["request"].Delivered)
	agent.stop()
	out.stop()

	load := out.records(t, requestsFor("/load"))
	require.Len(t, load, requests)
	for _, r := range append(load, out.records(t, requestsFor("/second"))...) {
		assert.Equal(t, "GET", r.values["http.request.method"])
		assert.Equal(t, "2", r.values["network.protocol.version"])
		assert.EqualValues(t, 200, r.number(t, "http.response.status_code"))
		assert.EqualValues(t, size, r.number(t, "http.response.body.size"))
		assert.NotContains(t, r.values, "error.type")
		assert.Contains(t, r.values, "tcp.http.duration")
		assert.Equal(t, "nginx", r.values["process.executable.name"])
	}
	assert.Equal(t, "id=REDACTED", load[0].values["url.query"])
	for path, version := range map[string]string{"/first": "2", "/second": "2", "/one": "1.1"} {
		found := out.records(t, requestsFor(path))
		require.Len(t, found, 1, path)
		assert.Equal(t, version, found[0].values["network.protocol.version"], path)
	}
	duration := out.total(t, func(p point) bool { return p.metric == "http.server.request.duration" })
	assert.EqualValues(t, requests+3, duration.count)
}
