// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPackets asks for the packets of two classes and gets those, each once, beside
// the counters of all.
func TestPackets(t *testing.T) {
	for _, mode := range []string{"tcx", "clsact"} {
		t.Run(mode, func(t *testing.T) {
			const (
				port   = 28160
				number = 7
			)
			n := newNetwork(t)
			n.server.startServer(t, port)
			out := startSink(t, n.server)
			agent := startAgent(t, out.endpoint, agentSettings{
				in:       n.server,
				receiver: "    packets: {flags: [syn, rst]}\n    tc: {mode: " + mode + "}",
			})
			ports := map[float64]bool{}
			for i := range number {
				to, end := n.At(port), fin
				if i == 0 {
					end = reset
				}
				c := n.client.dial(t, to).do(step{Ask: ask{Reply: 3000, Then: eof}}).do(step{End: end})
				require.Empty(t, c.Error)
				ports[float64(c.Client.Port())] = true
			}
			packet := at("tcp.server.packet", port)
			assert.Eventually(t, func() bool { return len(out.records(t, packet)) >= number+1 },
				settle, tick, "packets are missing")
			agent.stop()
			out.stop()

			flags := map[string]int{}
			for _, r := range out.records(t, packet) {
				flags[fmt.Sprint(r.values["tcp.flags"])]++
				assert.Equal(t, n.Client4.String(), r.values["client.address"])
				assert.True(t, ports[r.number(t, "client.port")], "a client's port")
				assert.Equal(t, "eth0", r.values["network.interface.name"])
				assert.Equal(t, "receive", r.values["network.io.direction"])
			}
			assert.Equal(t, map[string]int{"[SYN]": number, "[RST ACK]": 1}, flags)
			for class, want := range map[string]float64{"syn": number, "rst": 1} {
				count := out.total(t, func(p point) bool {
					return p.metric == "tcp.server.packets" && p.values["tcp.packet.class"] == class &&
						p.values["network.interface.name"] == "eth0" &&
						p.values["network.io.direction"] == "receive"
				})
				assert.InDelta(t, want, count.value, 0, "packets of class %s", class)
			}
		})
	}
}

// TestBadConfiguration checks that the collector says which key is wrong, does not
// start, and leaves nothing attached.
func TestBadConfiguration(t *testing.T) {
	tests := []struct{ name, receiver, says string }{
		{"unknown key", "colection_interval: 10s", "colection_interval"},
		{"bad CIDR", `clients: {include: ["10.0.0.0/33"]}`, "clients::include"},
		{"bad port", `ports: {include: ["70000"]}`, "ports::include"},
		{"absurd limit", "limits: {connections: -1}", "limits::connections"},
		{"ring buffer of no power of two", "limits: {ring_bytes: 5000}", "limits::ring_bytes"},
		{"interface that does not exist", "interfaces: {include: [nosuch0]}", "nosuch0"},
		{"half-open attempts without packets", "{tc: {mode: off}, connections: {half_open: true}}", "connections::half_open"},
		{"a fraction", "packets: {sample_rate: 0.01}", "packets::sample_rate: 0.01 is not a whole number"},
		{"a duration without a unit", "collection_interval: 10", "collection_interval: 10 has no unit; write 10s for seconds"},
		{"a list for a mapping", "ports: [80]", "ports: [80] is not a mapping; its keys are include and exclude"},
		{"a size with a unit", "limits: {ring_bytes: 16MiB}", `limits::ring_bytes: "16MiB" is not a whole number; write 16777216`},
		{"no interface is left", `{interfaces: {exclude: ["*"]}, packets: {flags: [syn]}}`, "interfaces::exclude: leaves no interface"},
		{"retry in no time", "retry_on_failure: {initial_interval: 0s}", "retry_on_failure::initial_interval"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := newNetwork(t)
			path := filepath.Join(t.TempDir(), "agent.yaml")
			require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `
receivers:
  ebpf_tcp:
    %s
exporters:
  debug:
service:
  pipelines:
    logs: {receivers: [ebpf_tcp], exporters: [debug]}
  telemetry: {metrics: {level: none}}
`, test.receiver), 0o600))
			qdiscs, objects := n.server.run(t, "tc", "qdisc", "show"), kernelObjects(t)
			cmd := n.server.Command("timeout", "20", os.Getenv(collectorVariable), "--config", path)
			said, err := cmd.CombinedOutput()
			require.Error(t, err)
			assert.NotEqual(t, 124, cmd.ProcessState.ExitCode(), "it started:\n%s", said)
			assert.Contains(t, string(said), test.says)
			assert.Equal(t, qdiscs, n.server.run(t, "tc", "qdisc", "show"))
			checkGone(t, objects, kernelObjects(t))
		})
	}
}
