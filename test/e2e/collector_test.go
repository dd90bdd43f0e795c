// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// stopTimeout is how long a collector may take to stop: the receiver's 5 s to flush
// and the exporters'.
const stopTimeout = 20 * time.Second

// collector is a running collector whose methods fail the test.
type collector struct {
	*lab.Collector
	t       *testing.T
	stopped bool
}

// startCollector runs the collector under test and waits until its pipelines run.
// configuration lacks only the telemetry section, which must come last.
func startCollector(t *testing.T, in namespace, name, configuration string) *collector {
	t.Helper()
	return launch(t, name, lab.Launch{
		In: in.Namespace, Configuration: configuration, Telemetry: freePort(t), Level: "detailed",
	})
}

// startExample runs it with a configuration that lacks nothing, as `make run` does.
func startExample(t *testing.T, in namespace, configuration string) *collector {
	t.Helper()
	return launch(t, "example", lab.Launch{
		In: in.Namespace, Configuration: configuration, Arguments: []string{byStatus},
	})
}

func launch(t *testing.T, name string, l lab.Launch) *collector {
	t.Helper()
	l.Program = os.Getenv(collectorVariable)
	running, err := lab.StartCollector(t.Context(), l)
	require.NoError(t, err, name)
	running.Name = name
	c := &collector{Collector: running, t: t}
	t.Cleanup(func() {
		c.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, c.complaints())
		}
		_ = c.Close()
	})
	return c
}

// said is what the collector has logged so far.
func (c *collector) said() string {
	c.t.Helper()
	said, err := c.Said()
	require.NoError(c.t, err)
	return said
}

// complaints are the lines of the log that report problems.
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
	begin := time.Now()
	assert.NoError(c.t, c.Stop())
	assert.Less(c.t, time.Since(begin), stopTimeout, "time to stop")
}

// metrics are the collector's own.
func (c *collector) metrics() []lab.Metric {
	c.t.Helper()
	return namespace{c.In}.scrape(c.t, c.Telemetry)
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
