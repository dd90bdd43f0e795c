// SPDX-License-Identifier: Apache-2.0

package series

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

func TestMetricsOfNamespaces(t *testing.T) {
	r := newRig(Options{OwnNetNS: 1})
	n := func(n uint64) *uint64 { return &n }
	own := &source.Namespace{NetNS: 1, Counters: [source.NamespaceCounters]*uint64{
		source.SyncookiesSent: n(0), source.TCPReqQFullDoCookies: n(5), source.TCPReqQFullDrop: n(7), source.EmbryonicRsts: n(2),
	}}
	r.Namespace(own)
	first := r.pass(time.Second)
	r.Namespace(own)
	r.Namespace(&source.Namespace{NetNS: 2, Counters: [source.NamespaceCounters]*uint64{source.SyncookiesSent: n(3)}})
	second := r.pass(time.Second)

	require.Equal(t, []int64{0}, sorted(values(first, "tcp.server.namespace.syn_cookies")), "a series begins at 0")
	require.Empty(t, values(second, "tcp.server.namespace.accept_queue.overflows"), "not read")
	require.Equal(t, []int64{4}, sorted(values(second, "tcp.server.namespace.embryonic_resets")))
	cookies := sums(second, "tcp.server.namespace.syn_cookies")
	require.Len(t, cookies, 2)
	require.NotEqual(t, cookies[0].resource["service.instance.id"], cookies[1].resource["service.instance.id"])
	byOutcome := map[any]int64{}
	for _, p := range sums(second, "tcp.server.namespace.syn_queue.overflows") {
		byOutcome[p.attributes["tcp.syn_queue.outcome"]] = p.value
	}
	require.Equal(t, map[any]int64{"cookie": 10, "drop": 14}, byOutcome)
}
