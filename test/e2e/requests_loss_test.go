// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// drop has a namespace lose packets of a server's port, at random: those that it sends
// before our programs see them, and those that it gets after they have.
func (ns namespace) drop(t *testing.T, port, percent int) {
	t.Helper()
	ns.nft(t, "add table inet loss")
	for _, hook := range []string{"prerouting", "output"} {
		ns.nft(t, fmt.Sprintf("add chain inet loss %[1]s { type filter hook %[1]s priority -300; }", hook))
		for _, end := range []string{"dport", "sport"} {
			ns.nft(t, fmt.Sprintf("add rule inet loss %s tcp %s %d numgen random mod 100 < %d drop", hook, end, port, percent))
		}
	}
}

// TestRequestsNeverPairedWrongly loses segments of each kind, and records. A request has its own
// answer or none, and the books balance.
func TestRequestsNeverPairedWrongly(t *testing.T) {
	const refusing = "    queue: {max_bytes: 65536}\n    batch: {max_records: 10}\n" +
		"    retry_on_failure: {initial_interval: 100ms, max_interval: 200ms, max_elapsed_time: 300ms}\n"
	const ring = "    limits: {inspect_ring_bytes: 4096}\n"
	for _, test := range []struct {
		name, more string
		// pause is what makes some of the segments fit into the ring.
		pause int
		// from is the first of the ways that are used, up to a veth pair.
		from         int
		drop, refuse bool
		lost         [][3]string
	}{
		{name: "ring", more: ring, pause: 30, from: 2, lost: [][3]string{{"segment", "ring", "full"}}},
		{name: "consumer", more: refusing, pause: 1, from: 3, refuse: true, lost: [][3]string{{"request", "queue", "full"}}},
		{name: "wire", pause: 1, from: 3, drop: true},
		{name: "all", more: ring + refusing, pause: 30, from: 3, drop: true, refuse: true, lost: [][3]string{{"segment", "ring", "full"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startPrograms(t, test.more)
			if test.drop {
				p.server.drop(t, webPort, 3)
				p.client.drop(t, webPort, 3)
			}
			if test.refuse {
				p.out.refuse(true)
			}
			for i, w := range p.ways()[test.from:4] {
				for _, depth := range []int{1, 16} {
					p.wrk(t, w, fmt.Sprintf("/%d/%d/", i, depth), depth, test.pause)
				}
				p.out.refuse(false)
			}
			asked := 0
			served := p.served(t, &asked)
			b := p.agent.balance(func(b lab.Ledger) bool { return b["request"].Queued == 0 && b["request"].Produced > 0 })
			for _, lost := range test.lost {
				assert.Positive(t, losses(b)[lost], "%v", lost)
			}
			p.agent.stop()
			pairs := p.checkPairs(t, b, served)
			if test.more == "" || test.more == refusing { // a ring of 4 KiB can leave none
				assert.Positive(t, pairs)
			}
		})
	}
}

// checkPairs compares the ids of requests with those of their answers. It returns how many
// pairs there were.
func (p *programs) checkPairs(t *testing.T, b lab.Ledger, served int) (pairs int) {
	t.Helper()
	alone := 0
	seen := map[any]int{}
	records := p.out.records(localPort(webPort))
	for _, r := range records {
		path, asked := r.values["url.path"].(string)
		id, answered := r.values["http.response.header.x-id"].([]any)
		if !asked || !answered {
			alone++
			continue
		}
		pairs++
		require.Equal(t, []any{path}, id, "a wrong pair: %v", r)
		if seen[path]++; !strings.HasSuffix(path, "/") {
			require.Equal(t, 1, seen[path], "reported twice: %v", r)
		}
	}
	t.Logf("nginx served %d, recorded %d pairs and %d alone, segments %v of %v lost, requests %v", served, pairs, alone,
		b["segment"].Lost, b["segment"].Produced, b["request"].LostWhere())
	require.NotEmpty(t, records)
	return pairs
}
