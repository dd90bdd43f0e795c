// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"net/netip"
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

// start runs a program in the server's namespace until the test ends, and waits until it listens.
func (p *programs) start(t *testing.T, port int, name string, args ...string) {
	t.Helper()
	process, err := lab.Start(p.server.Command(name, args...))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, process.Stop(syscall.SIGTERM)) })
	require.NoError(t, process.Wait(t.Context(), "listening", func() (bool, error) {
		listeners, err := p.server.Run(t.Context(), "ss", "-Hltn")
		return strings.Contains(listeners, fmt.Sprintf(":%d ", port)), err
	}))
}

// observePort starts the receiver for one port.
func (p *programs) observePort(t *testing.T, port int, more string) {
	t.Helper()
	p.agent = startAgent(t, p.out.endpoint, agentSettings{in: p.server, receiver: fmt.Sprintf(
		"    inspect: {http: {ports: [%d], response_headers: [x-id]}}\n%s", port, more)})
}

// TestHTTP2OfNghttpd: each stream of h2load is a record, 16 at a time, over all kinds of
// interfaces.
func TestHTTP2OfNghttpd(t *testing.T) {
	const port, requests, size = 28630, 2000, 300
	p := &programs{network: newNetwork(t), out: startRequestSink(t)}
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "file"), make([]byte, size), 0o600))
	p.start(t, port, "nghttpd", "--no-tls", "-d", root, strconv.Itoa(port))
	p.observePort(t, port, "")
	total := 0
	for _, w := range p.ways() {
		p.offloads(t, w.offloads)
		to := netip.AddrPortFrom(w.to.Addr(), port)
		w.client.run(t, "h2load", "-n", strconv.Itoa(requests), "-c", "4", "-m", "16", fmt.Sprintf("http://%s/file?%s", to, w.name))
		total += requests
		p.rest(t, total)
	}
	p.agent.stop()
	records := p.out.records(localPort(port))
	require.Len(t, records, total)
	for _, r := range records {
		if !assert.Equal(t, "/file", r.values["url.path"]) || !assert.EqualValues(t, 200, r.values["http.response.status_code"]) ||
			!assert.EqualValues(t, size, r.values["http.response.body.size"]) || !assert.NotContains(t, r.values, "error.type") ||
			!assert.Contains(t, r.values, "tcp.http.duration") {
			break
		}
	}
	assert.EqualValues(t, total, p.out.count("http.server.request.duration", port))
	t.Logf("%d streams", total)
}
