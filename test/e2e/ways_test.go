// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"path"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// TestLiveWays holds connections open under each way to live figures, those above it
// excluded, and under none: the ledger balances meanwhile, what opened is counted although
// nothing has closed, and what could not be read is absent.
func TestLiveWays(t *testing.T) {
	const (
		port   = 28140
		number = 50
		bytes  = 1000
	)
	hooks := []string{"iter/bpf_map_elem", "prog_run/syscall", "iter/tcp", "map/lookup_batch", "no way"}
	for i, hook := range hooks {
		t.Run(path.Base(hook), func(t *testing.T) {
			needs := []string{}
			if hook != "no way" {
				needs = append(needs, "live by "+hook, "queue by "+hook)
			}
			needing(t, needs...)
			n := newNetwork(t)
			n.server.startServer(t, port)
			out := startSink(t, namespace{})
			agent := startAgent(t, out.endpoint, agentSettings{exclude: hooks[:i]})
			clients := make([]*client, number)
			for i := range clients {
				clients[i] = n.client.dial(t, n.At(port))
				clients[i].do(step{Ask: ask{Reply: bytes}})
			}
			total := func(metric string) float64 { return out.total(t, of(metric, port)).value }
			require.Eventually(t, func() bool { return total("connection.opened") == number }, settle, tick,
				"opened is not counted before the close")
			agent.balance(func(b lab.Ledger) bool { return b["connection"].Active >= number })
			assert.Condition(t, func() bool {
				for _, s := range agent.metrics() {
					if s.Name == "otelcol_ebpf_tcp_map_entries" && s.Labels["map"] == "connections" {
						return s.Value >= number
					}
				}
				return false
			}, "the map holds all connections")

			reads, knows := i < 3, i < 4
			if knows {
				require.Eventually(t, func() bool { return total("connection.active") == number }, settle, tick)
			}
			if reads {
				require.Eventually(t, func() bool { return total("io") >= number*bytes }, settle, tick)
			}
			for _, c := range clients {
				c.do(step{End: fin})
			}
			agent.balance(func(b lab.Ledger) bool { return b["connection"].Delivered >= number })
			agent.stop()
			out.stop()
			assert.Len(t, out.records(t, at("tcp.server.connection.close", port)), number)
			assert.EqualValues(t, number, total("connection.opened"))
			assert.GreaterOrEqual(t, total("io"), float64(number*bytes), "the close tells the bytes on every kernel")
			present := func(metric string) bool { return len(out.points(t, of(metric, port))) > 0 }
			assert.Equal(t, knows, present("connection.active"), "active is absent where it is not known")
			for _, metric := range []string{"accept_queue.length", "accept_queue.limit", "syn_queue.length"} {
				assert.Equal(t, reads, present(metric), "%s is absent where it is not read", metric)
			}
		})
	}
}
