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

// apacheConfiguration is for apache2 with h2c. Its event module leaves connections as soon as they
// are idle after an upgrade (GOAWAY), and its prefork module has no HTTP/2.
const apacheConfiguration = `
ServerRoot %[1]s
DefaultRuntimeDir %[1]s
ServerName test
User nobody
Group nogroup
PidFile %[1]s/pid
ErrorLog %[1]s/errors
Listen %[2]d
LoadModule mpm_worker_module /usr/lib/apache2/modules/mod_mpm_worker.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
ServerLimit 1
ThreadsPerChild 25
MaxRequestWorkers 25
Protocols h2c http/1.1
DocumentRoot %[1]s/root
<Directory %[1]s/root>
	Require all granted
</Directory>
`

// TestHTTP2Upgrade: connections that upgrade from HTTP/1 have a record of each stream, that of the
// request which upgrades included, with curl and nghttp against apache2.
func TestHTTP2Upgrade(t *testing.T) {
	const port, size, times, streams = 28631, 300, 10, 5
	p := &programs{network: newNetwork(t), out: startRequestSink(t)}
	folder := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(folder), 0o755)) // apache2 refuses to be root
	require.NoError(t, os.Mkdir(filepath.Join(folder, "root"), 0o755))
	urls := make([]string, streams)
	for i := range urls {
		name := strconv.Itoa(i)
		require.NoError(t, os.WriteFile(filepath.Join(folder, "root", name), make([]byte, size+i), 0o644))
		urls[i] = fmt.Sprintf("http://%s/%s", netip.AddrPortFrom(p.Server4, port), name)
	}
	configuration := filepath.Join(folder, "apache2.conf")
	require.NoError(t, os.WriteFile(configuration, fmt.Appendf(nil, apacheConfiguration, folder, port), 0o600))
	p.start(t, port, "apache2", "-DFOREGROUND", "-f", configuration)
	p.observePort(t, port, "")
	for range times {
		curl := []string{"-sS", "--fail", "--http2"}
		for _, url := range urls {
			curl = append(curl, url, "-o", "/dev/null")
		}
		p.client.run(t, "curl", curl...)
		said := p.client.run(t, "nghttp", append([]string{"-n", "-s", "-u"}, urls...)...)
		require.Equal(t, streams, strings.Count(said, " 200 "), said)
	}
	const total = 2 * times * streams
	p.rest(t, total)
	p.agent.stop()
	found := map[any]int{}
	for _, r := range p.out.records(localPort(port)) {
		found[r.values["url.path"]]++
		name, _ := r.values["url.path"].(string)
		n, err := strconv.Atoi(strings.TrimPrefix(name, "/"))
		require.NoError(t, err)
		assert.Equal(t, "2", r.values["network.protocol.version"])
		assert.EqualValues(t, 200, r.values["http.response.status_code"])
		assert.EqualValues(t, size+n, r.values["http.response.body.size"])
		assert.NotContains(t, r.values, "error.type")
	}
	for i := range streams {
		assert.Equal(t, 2*times, found[fmt.Sprint("/", i)], i)
	}
	assert.EqualValues(t, total, p.out.count("http.server.request.duration", port))
}
