// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestHostileNames serves from a namespace whose interface is not UTF-8, with a program
// whose name would draw a line of its own on a terminal, beside an ordinary server. A
// strict backend takes every message, and the collector's terminal stays intact.
func TestHostileNames(t *testing.T) {
	const (
		hostilePort, ordinaryPort = 28320, 28321
		number                    = 20
		device                    = "e\xff\x1b"
		executable                = "sshd\nFORGED \x1b[2J\a\u202e"
	)
	out := startStrictSink(t)
	n := newNetwork(t)
	n.server.ip(t, "link set eth0 down")
	run(t, "ip", "-n", string(n.server.Namespace), "link", "set", "eth0", "name", device)
	run(t, "ip", "-n", string(n.server.Namespace), "link", "set", device, "up")
	run(t, "ip", "-n", string(n.server.Namespace), "addr", "replace", fmt.Sprintf("%s/24", n.Server4), "dev", device)
	agent := startCollector(t, namespace{}, "agent", fmt.Sprintf(`
receivers:
  ebpf_tcp:
    collection_interval: 1s
    interfaces: {network_namespaces: [/run/netns/ebpftcp-s%d-*]}
exporters:
  otlp_http: {endpoint: %q, compression: none}
  debug: {verbosity: normal, use_internal_logger: false}
service:
  pipelines:
    logs: {receivers: [ebpf_tcp], exporters: [otlp_http, debug]}
    metrics: {receivers: [ebpf_tcp], exporters: [otlp_http]}
`, os.Getpid(), out.endpoint))
	program := filepath.Join(t.TempDir(), executable)
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, exec.Command("cp", self, program).Run())
	startActor(t, "server", n.server.Command(program, fmt.Sprintf("[::]:%d", hostilePort))).ready(t)
	n.server.startServer(t, ordinaryPort)
	for range number {
		for _, port := range []int{hostilePort, ordinaryPort} {
			c := n.client.dial(t, n.At(port))
			c.do(step{Ask: ask{Reply: 100, Then: fin}}).do(step{End: eof})
		}
	}

	assert.Eventually(t, func() bool {
		return len(out.closes(hostilePort)) == number && len(out.closes(ordinaryPort)) == number &&
			out.series("tcp.server.packets") > 0
	}, settle, tick, "closes")
	agent.stop()
	assert.Empty(t, out.refused(), "messages that a strict receiver refuses")
	for _, r := range append(out.closes(hostilePort), out.closes(ordinaryPort)...) {
		assert.Equal(t, "e\uFFFD\uFFFD", r["network.interface.name"])
	}
	for _, r := range out.closes(hostilePort) {
		assert.Equal(t, "sshd\uFFFDFORGED \uFFFD[2J\uFFFD\uFFFD", r["process.executable.name"])
	}
	said := agent.said()
	assert.Contains(t, said, "sshd\uFFFDFORGED", "the terminal has the records")
	assert.True(t, utf8.ValidString(said), "the terminal's text is not UTF-8")
	for line := range strings.Lines(said) {
		assert.False(t, strings.HasPrefix(line, "FORGED"), line)
		for _, r := range strings.TrimSuffix(line, "\n") {
			assert.True(t, r == '\t' || unicode.IsPrint(r), "%q in %q", r, line)
		}
	}
}
