// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestTwoReceivers runs two receivers in one collector, which see the same connections:
// both count them, and no connection id and no internal series is shared.
func TestTwoReceivers(t *testing.T) {
	const (
		port   = 28310
		number = 5
	)
	out := startSink(t, namespace{})
	agent := startCollector(t, namespace{}, "agent", fmt.Sprintf(`
receivers:
  ebpf_tcp/all:
    collection_interval: 1s
  ebpf_tcp/one:
    collection_interval: 1s
    ports: {include: [%d]}
exporters:
  otlp_grpc: {endpoint: %q, tls: {insecure: true}, compression: none}
service:
  pipelines:
    logs: {receivers: [ebpf_tcp/all, ebpf_tcp/one], exporters: [otlp_grpc]}
    metrics: {receivers: [ebpf_tcp/all, ebpf_tcp/one], exporters: [otlp_grpc]}
`, port, out.endpoint))
	n := newNetwork(t)
	n.server.startServer(t, port)
	for range number {
		c := n.client.dial(t, n.At(port))
		c.do(step{Ask: ask{Reply: 100, Then: fin}}).do(step{End: eof})
	}

	closes := func() []record { return out.records(t, at("tcp.server.connection.close", port)) }
	assert.Eventually(t, func() bool { return len(closes()) == 2*number }, settle, tick, "closes")
	ids := map[any]bool{}
	for _, r := range closes() {
		assert.IsType(t, "", r.values["tcp.connection.id"])
		ids[r.values["tcp.connection.id"]] = true
	}
	assert.Len(t, ids, 2*number, "ids")
	delivered := map[string]float64{}
	assert.Eventually(t, func() bool {
		for _, s := range agent.metrics() {
			if s.Name == "otelcol_ebpf_tcp_delivered" && s.Labels["event"] == "connection" {
				delivered[s.Labels["receiver"]] = s.Value
			}
		}
		return delivered["ebpf_tcp/one"] == number && delivered["ebpf_tcp/all"] >= number
	}, settle, tick, "ledgers of both")
	assert.Len(t, delivered, 2)
	agent.stop()
	out.stop()
}
