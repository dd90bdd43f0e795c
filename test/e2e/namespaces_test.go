// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNetworkNamespaces watches the packets of a namespace that appears later, and does not
// keep it alive.
func TestNetworkNamespaces(t *testing.T) {
	needing(t, "packet", "network_namespaces")
	const (
		port   = 28170
		number = 7
	)
	out := startSink(t, namespace{})
	agent := startAgent(t, out.endpoint, agentSettings{
		receiver: fmt.Sprintf("    interfaces: {network_namespaces: [/run/netns/ebpftcp-s%d-*]}", os.Getpid()),
	})
	attached := func(want float64) func() bool {
		return func() bool {
			for _, s := range agent.metrics() {
				if s.Name == "otelcol_ebpf_tcp_network_namespaces" && s.Labels["state"] == "attached" {
					return s.Value == want
				}
			}
			return false
		}
	}
	n := newNetwork(t)
	server := n.server.startServer(t, port)
	require.Eventually(t, attached(1), settle, tick, "the namespace is not watched")
	for range number {
		c := n.client.dial(t, n.At(port))
		c.do(step{Ask: ask{Reply: 100, Then: fin}}).do(step{End: eof})
	}
	inode := n.server.inode(t)
	syns := func() float64 {
		return out.total(t, func(p point) bool {
			return p.metric == "tcp.server.packets" && p.values["tcp.packet.class"] == "syn" &&
				p.values["network.interface.name"] == "eth0" && p.values["tcp.netns.inode"] == inode
		}).value
	}
	assert.Eventually(t, func() bool { return syns() == number }, settle, tick, "SYNs inside")
	closes := func() []record { return out.records(t, at("tcp.server.connection.close", port)) }
	assert.Eventually(t, func() bool { return len(closes()) == number }, settle, tick, "closes")
	for _, r := range closes() {
		assert.Equal(t, "eth0", r.values["network.interface.name"])
		assert.Equal(t, inode, r.values["tcp.netns.inode"])
	}

	server.End()
	run(t, "ip", "netns", "del", string(n.server.Namespace))
	// Its end of the veth pair goes with it, and so does the client's.
	require.Eventually(t, func() bool {
		return exec.Command("ip", "-n", string(n.client.Namespace), "link", "show", "eth0").Run() != nil
	}, settle, tick, "the namespace is kept alive")
	require.Eventually(t, attached(0), settle, tick, "the namespace is counted still")
	agent.stop()
	out.stop()
	assert.InDelta(t, number, syns(), 0)
}
