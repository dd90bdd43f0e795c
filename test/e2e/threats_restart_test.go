// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestThreatsOutliveARestart: a collector with file_storage stops in the middle of a scan, before the
// evidence is enough and again after the finding. The finding begins once, with all of the evidence,
// and then grows.
func TestThreatsOutliveARestart(t *testing.T) {
	needing(t, "refused")
	n := newNetwork(t)
	j := &judged{network: n, out: startSink(t, n.server)}
	configuration := fmt.Sprintf(`
receivers:
  ebpf_tcp:
    connections: {scope: host}
%s
connectors:
  ebpf_tcp_threats:
    storage: file_storage
    rules: {distributed_scan: {enabled: false}}
exporters:
  otlp_grpc: {endpoint: %s, tls: {insecure: true}}
extensions:
  file_storage: {directory: %s}
service:
  extensions: [file_storage]
  pipelines:
    logs: {receivers: [ebpf_tcp], exporters: [ebpf_tcp_threats]}
    logs/threats: {receivers: [ebpf_tcp_threats], exporters: [otlp_grpc]}
`, excludedHooks(), j.out.endpoint, t.TempDir())
	scan := func(ports string, refused float64) {
		agent := startCollector(t, n.server, "judge", configuration)
		n.client.run(t, "nmap", "-n", "-Pn", "-sS", "-p", ports, n.Server4.String())
		require.Eventually(t, func() bool {
			read, err := agent.Sum(t.Context(), "otelcol_ebpf_tcp_threats_records", "event", "tcp.server.connection.failed", "outcome", "read")
			return err == nil && read >= refused
		}, settle, tick)
		agent.stop()
	}
	scan("1-5", 5)
	require.Empty(t, j.threats(t, "begin"))
	scan("6-10", 5)
	require.Eventually(t, func() bool { return len(j.threats(t, "begin")) > 0 }, settle, tick)
	begun := j.threats(t, "begin")[0]
	assert.Equal(t, "port_scan", begun.values["security_rule.name"])
	assert.Equal(t, n.Client4.String(), begun.values["client.address"])
	assert.GreaterOrEqual(t, begun.number(t, "tcp.threat.evidence"), 9.0)
	scan("11-150", 140)
	require.Eventually(t, func() bool { return len(j.threats(t, "growth")) > 0 }, settle, tick)
	for _, grown := range j.threats(t, "growth") {
		assert.Equal(t, begun.values["tcp.threat.id"], grown.values["tcp.threat.id"])
		assert.Equal(t, begun.values["tcp.threat.first.time_unix_nano"], grown.values["tcp.threat.first.time_unix_nano"])
		assert.GreaterOrEqual(t, grown.number(t, "tcp.threat.evidence"), 90.0)
	}
	assert.Len(t, j.threats(t, "begin"), 1)
}
