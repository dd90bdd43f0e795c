// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// judged is a collector with the receiver and the connector, and what came out of them.
type judged struct {
	*network
	out   *sink
	agent *collector
}

// startJudge runs both in the server's namespace. It has a configuration of the connector's, indented by four.
func startJudge(t *testing.T, connector string) *judged {
	t.Helper()
	return startJudgeWith(t, "", connector)
}

// startJudgeWith has lines of the receiver's configuration, too.
func startJudgeWith(t *testing.T, receiver, connector string) *judged {
	t.Helper()
	return startJudgeIn(t, newNetwork(t), receiver, connector)
}

// startJudgeIn has a network that was made before.
func startJudgeIn(t *testing.T, n *network, receiver, connector string) *judged {
	t.Helper()
	out := startSink(t, n.server)
	agent := startCollector(t, n.server, "judge", fmt.Sprintf(`
receivers:
  ebpf_tcp:
    connections: {scope: host}
%s%s
connectors:
  ebpf_tcp_threats:
    metrics_interval: 200ms
%s
exporters:
  otlp_grpc: {endpoint: %s, tls: {insecure: true}}
service:
  pipelines:
    logs: {receivers: [ebpf_tcp], exporters: [ebpf_tcp_threats, otlp_grpc]}
    logs/threats: {receivers: [ebpf_tcp_threats], exporters: [otlp_grpc]}
    metrics/threats: {receivers: [ebpf_tcp_threats], exporters: [otlp_grpc]}
`, excludedHooks(), receiver, connector, out.endpoint))
	return &judged{n, out, agent}
}

// threats are the findings so far, by state.
func (j *judged) threats(t *testing.T, state string) []record {
	t.Helper()
	return j.out.records(t, func(r record) bool {
		return r.event == "tcp.server.threat" && r.values["tcp.threat.state"] == state
	})
}

// one waits for a finding, and expects no other.
func (j *judged) one(t *testing.T, rule string) record {
	t.Helper()
	require.Eventually(t, func() bool { return len(j.threats(t, "begin")) > 0 }, settle, tick)
	found := j.threats(t, "begin")
	require.Len(t, found, 1)
	assert.Equal(t, rule, found[0].values["security_rule.name"], "%v", found[0])
	require.Eventually(t, func() bool {
		counted := j.out.total(t, func(p point) bool { return p.metric == "tcp.server.threats" && p.values["security_rule.name"] == rule })
		return counted.value == 1
	}, settle, tick, "tcp.server.threats")
	return found[0]
}

// TestThreatsOfScanners: each scan with nmap has its rule and its source.
func TestThreatsOfScanners(t *testing.T) {
	needing(t, "refused")
	for _, scan := range []string{"-sS", "-sT", "-sS -T2 --max-retries 0 -p 1-15"} {
		t.Run(scan, func(t *testing.T) {
			j := startJudge(t, "")
			j.server.startServer(t, 80)
			arguments := append([]string{"-n", "-Pn"}, strings.Fields(scan)...)
			j.client.run(t, "nmap", append(arguments, j.Server4.String())...)
			found := j.one(t, "port_scan")
			assert.Equal(t, j.Client4.String(), found.values["client.address"])
			assert.Equal(t, j.Client4.String()+"/32", found.values["tcp.source.prefix"])
			assert.Equal(t, true, found.values["tcp.threat.spoofable"])
		})
	}
}

// TestThreatsOfDecoys: nobody can tell the scanner from its decoys, so that the set is named.
func TestThreatsOfDecoys(t *testing.T) {
	needing(t, "refused")
	j := startJudge(t, "    rules: {distributed_scan: {gather: 3s}}")
	decoys := fmt.Sprintf("%s,%s,%s,ME", nth(j.Client4, 50), nth(j.Client4, 51), nth(j.Client4, 52))
	j.client.run(t, "nmap", "-n", "-Pn", "-sS", "-p", "1-200", "-D", decoys, j.Server4.String())
	found := j.one(t, "distributed_scan")
	assert.InDelta(t, 4, found.number(t, "tcp.threat.source.count"), 0)
	assert.NotContains(t, found.values, "client.address")
}

// nth is an address of the same network.
func nth(addr netip.Addr, last byte) netip.Addr {
	raw := addr.As4()
	raw[3] = last
	return netip.AddrFrom4(raw)
}

// TestThreatsLeaveOrdinaryClientsAlone: nothing is found about programs that ask what is there.
func TestThreatsLeaveOrdinaryClientsAlone(t *testing.T) {
	needing(t, "refused")
	j := startJudge(t, "")
	j.server.startServer(t, 80)
	for range 20 {
		for _, port := range []int{80, 81, 82, 83} {
			_, _ = j.client.Run(t.Context(), "curl", "-s", "--max-time", "1", fmt.Sprintf("http://%s:%d/", j.Server4, port))
		}
	}
	time.Sleep(2 * time.Second)
	assert.Empty(t, j.threats(t, "begin"))
	read, err := j.agent.Sum(t.Context(), "otelcol_ebpf_tcp_threats_records", "outcome", "read")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, read, 60.0)
}
