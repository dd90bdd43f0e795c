// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// TestOpenBeforeAndAfter holds connections from before the collector starts until after it has
// stopped. They are active, their bytes count, and no close is reported.
func TestOpenBeforeAndAfter(t *testing.T) {
	needing(t, "live", "existing_connection")
	const (
		port          = 28120
		number        = 5
		before, after = 100_000, 7_000
	)
	n := newNetwork(t)
	n.server.startServer(t, port)
	clients := make([]*client, number)
	var sentBefore, sentAfter int64
	for i := range clients {
		clients[i] = n.client.dial(t, n.At(port))
		clients[i].do(step{Ask: ask{Reply: before}})
		sentBefore += clients[i].Sent
	}

	out := startSink(t, namespace{})
	agent := startAgent(t, out.endpoint, agentSettings{})
	require.Eventually(t, func() bool {
		return out.total(t, of("connection.active", port)).value == number
	}, settle, tick, "connections from before the start are not active")
	for _, c := range clients {
		c.do(step{Ask: ask{Reply: after}})
		sentAfter += c.Sent
	}
	sentAfter -= sentBefore

	io := func(direction string) float64 {
		return out.total(t, func(p point) bool {
			return of("io", port)(p) && p.values["network.io.direction"] == direction
		}).value
	}
	ok := assert.Eventually(t, func() bool {
		return io("transmit") >= number*after && io("receive") >= float64(sentAfter)
	}, settle, tick, "bytes of live connections are missing")
	if !ok {
		t.Logf("transmit %v, receive %v", io("transmit"), io("receive"))
	}
	agent.stop()
	out.stop()
	// The first reading, in the snapshot that had them as active, is the baseline.
	assert.LessOrEqual(t, io("transmit"), float64(number*after), "bytes from before the start, or twice")
	assert.LessOrEqual(t, io("receive"), float64(sentAfter), "bytes from before the start, or twice")
	assert.EqualValues(t, number, out.total(t, of("connection.active", port)).value, "active at the end")
	assert.Empty(t, out.records(t, at("tcp.server.connection.close", port)), "none of them has closed")
	for _, c := range clients {
		c.do(step{End: fin})
		assert.Empty(t, c.Error, "the connections outlive the collector")
	}
}

// TestHalfOpen runs the collector in the server's namespace, because it watches packets only in
// its own.
func TestHalfOpen(t *testing.T) {
	needing(t, "packet")
	const port = 28130
	n := newNetwork(t)
	n.server.startServer(t, port)
	out := startSink(t, n.server)
	agent := startAgent(t, out.endpoint, agentSettings{
		in:       n.server,
		receiver: "    connections: {half_open: true, handshake_timeout: 2s}",
	})

	// A client whose SYN-ACKs get lost stays half-open; it never learns of the end.
	n.client.nft(t, "add table inet e2e; add chain inet e2e in { type filter hook input priority 0; }; "+
		"add rule inet e2e in tcp sport 28130 ip saddr "+n.Server4.String()+" tcp dport != 29999 drop")
	half := n.client.Command("curl", "-s", "--max-time", "10", "--local-port", "29998",
		"http://"+n.At(port).String())
	require.NoError(t, half.Start())
	t.Cleanup(func() {
		_ = half.Process.Kill()
		_ = half.Wait()
	})
	// A client that resets what it began.
	n.client.act(t, "syn", n.At(port).String()).End()
	// One that works, for contrast.
	n.client.dial(t, netip.AddrPortFrom(n.Server6, port)).do(step{Ask: ask{Reply: 5, Then: eof}}).do(step{End: fin})

	failed := at("tcp.server.connection.failed", port)
	assert.Eventually(t, func() bool { return len(out.records(t, failed)) >= 2 }, settle, tick,
		"half-open attempts are missing")
	// curl tries again until its own timeout: the attempt must still be one.
	_ = half.Wait()
	agent.balance(func(b lab.Ledger) bool { return b["failed"].Produced >= 2 })
	agent.stop()
	out.stop()
	types := map[any]int{}
	for _, r := range out.records(t, failed) {
		types[r.values["error.type"]]++
		assert.Equal(t, n.Client4.String(), r.values["client.address"])
		assert.Equal(t, n.Server4.String(), r.values["server.address"])
		switch r.values["error.type"] {
		case "handshake_timeout":
			assert.EqualValues(t, 29998, r.values["client.port"])
		case "reset":
			assert.EqualValues(t, 29999, r.values["client.port"])
		}
	}
	assert.Positive(t, types["handshake_timeout"])
	assert.Equal(t, 1, types["reset"])
	assert.Len(t, types, 2, "and no other type: %v", types)
	for kind, count := range types {
		total := out.total(t, func(p point) bool {
			return of("connection.failed", port)(p) && p.values["error.type"] == kind
		})
		assert.EqualValues(t, count, total.value, "the counter agrees for %v", kind)
	}
	assert.Len(t, out.records(t, at("tcp.server.connection.close", port)), 1)
}
