// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stopTimeout is how long a collector may take to stop: the receiver's 5 s to flush
// and the exporters'.
const stopTimeout = 20 * time.Second

// collector is a running collector.
type collector struct {
	t *testing.T
	// in is where it runs.
	in  namespace
	cmd *exec.Cmd
	// config and log are files.
	config, log string
	// telemetry is the port of its own metrics on loopback.
	telemetry int
	exited    chan error
	stopped   bool
}

// telemetryYAML serves the collector's own metrics.
const telemetryYAML = `
  telemetry:
    metrics:
      level: detailed
      readers:
        - pull: {exporter: {prometheus: {host: 127.0.0.1, port: %d}}}
`

// startCollector runs the collector under test and waits until its pipelines run.
// configuration lacks only the telemetry section, which must come last.
func startCollector(t *testing.T, in namespace, name, configuration string) *collector {
	t.Helper()
	dir := t.TempDir()
	c := &collector{
		t: t, in: in, config: filepath.Join(dir, name+".yaml"), log: filepath.Join(dir, name+".log"),
		telemetry: freePort(t), exited: make(chan error, 1),
	}
	c.configure(configuration)
	c.launch(name)
	return c
}

// startExample runs it with a configuration that lacks nothing, as `make run` does.
func startExample(t *testing.T, in namespace, configuration string) *collector {
	t.Helper()
	dir := t.TempDir()
	c := &collector{
		t: t, in: in, config: filepath.Join(dir, "example.yaml"), log: filepath.Join(dir, "example.log"),
		exited: make(chan error, 1),
	}
	require.NoError(t, os.WriteFile(c.config, []byte(configuration), 0o600))
	c.launch("example", byStatus)
	return c
}

// launch starts it and waits until its pipelines run.
func (c *collector) launch(name string, arguments ...string) {
	t := c.t
	t.Helper()
	log, err := os.Create(c.log)
	require.NoError(t, err)
	defer log.Close()
	c.cmd = c.in.command(os.Getenv(collectorVariable), append([]string{"--config", c.config}, arguments...)...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	require.NoError(t, c.cmd.Start())
	go func() { c.exited <- c.cmd.Wait() }()
	t.Cleanup(func() {
		c.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, c.complaints())
		}
	})
	require.Eventually(t, func() bool {
		return len(c.exited) > 0 || c.starts() > 0
	}, settle, tick, "%s does not start", name)
	require.Empty(t, c.exited, "%s ended at start:\n%s", name, c.said())
}

// configure writes the configuration, which lacks only the telemetry section.
func (c *collector) configure(configuration string) {
	c.t.Helper()
	configuration += fmt.Sprintf(telemetryYAML[1:], c.telemetry)
	require.NoError(c.t, os.WriteFile(c.config, []byte(configuration), 0o600))
}

// starts counts how often its pipelines began to run.
func (c *collector) starts() int { return strings.Count(c.said(), "Everything is ready") }

// said is what the collector has logged so far.
func (c *collector) said() string {
	text, err := os.ReadFile(c.log)
	require.NoError(c.t, err)
	return string(text)
}

// complaints are the lines of the log that tell of trouble.
func (c *collector) complaints() string {
	var lines strings.Builder
	for line := range strings.Lines(c.said()) {
		if !strings.Contains(line, "\tinfo\t") {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

// stop asks the collector to end and waits; it must end well and in time.
func (c *collector) stop() {
	c.t.Helper()
	if c.stopped {
		return
	}
	c.stopped = true
	require.NoError(c.t, c.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-c.exited:
		assert.NoError(c.t, err, "collector ended badly")
	case <-time.After(stopTimeout):
		assert.Fail(c.t, "collector does not stop")
		_ = c.cmd.Process.Kill()
		<-c.exited
	}
}

// agentSettings vary the collector under test from scenario to scenario.
type agentSettings struct {
	// in is where it runs; the zero value is the host's namespace.
	in namespace
	// receiver are lines of the receiver's configuration, indented by four.
	receiver string
	// exclude are hooks of the kernel that it does without.
	exclude []string
	// exporter replaces the OTLP exporter's lines, indented by four.
	exporter string
	// prometheus is a port on loopback for a Prometheus exporter beside it; 0 is none.
	prometheus int
}

// startAgent runs the receiver, exporting to the OTLP endpoint.
func startAgent(t *testing.T, endpoint string, s agentSettings) *collector {
	t.Helper()
	exporter := fmt.Sprintf("    endpoint: %s\n    tls: {insecure: true}\n    compression: none\n%s",
		endpoint, s.exporter)
	exporters, metrics := "  otlp_grpc:\n"+exporter, "[otlp_grpc]"
	if s.prometheus != 0 {
		exporters += fmt.Sprintf("  prometheus:\n    endpoint: 127.0.0.1:%d\n"+
			"    resource_constant_labels: {included: [\"*\"]}\n", s.prometheus)
		metrics = "[otlp_grpc, prometheus]"
	}
	return startCollector(t, s.in, "agent", fmt.Sprintf(`
receivers:
  ebpf_tcp:
    collection_interval: 1s
%s%s
exporters:
%s
service:
  pipelines:
    logs: {receivers: [ebpf_tcp], exporters: [otlp_grpc]}
    metrics: {receivers: [ebpf_tcp], exporters: %s}
`, excludedHooks(s.exclude...), s.receiver, exporters, metrics))
}

// Ports of collectors lie below the range that the kernel takes clients' ports from:
// one of those may be taken before the collector binds it.
const firstPort, lastPort = 21000, 27999

// freePort is a loopback port that nobody listens on, here or in a namespace of ours.
func freePort(t *testing.T) int {
	t.Helper()
	for range lastPort - firstPort {
		port := firstPort + rand.IntN(lastPort-firstPort)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			require.NoError(t, listener.Close())
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}
