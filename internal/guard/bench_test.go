// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package guard

import (
	"encoding/binary"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/street"
)

// BenchmarkGuard reports the cost of a packet as a multiple of an empty program. Both take turns,
// and the least of several rounds counts, because the machine does other things.
func BenchmarkGuard(b *testing.B) {
	innocent4, innocent6 := frame4(b, from("203.0.113.9")), frame6(b, "2001:db8:5::1")
	for _, bench := range []struct {
		name              string
		frame             []byte
		sources, networks int
		also              map[string]Block
	}{
		{name: "nothing blocked", frame: innocent4},
		{name: "100000 sources, innocent", frame: innocent4, sources: 100_000},
		{name: "100000 sources, innocent IPv6", frame: innocent6, sources: 100_000},
		{name: "100000 sources, blocked", frame: frame4(b), sources: 100_000, also: map[string]Block{"198.51.100.7/32": {Left: time.Hour}}},
		{name: "100000 sources, blocked, with an allowed address", frame: frame4(b), sources: 100_000, also: map[string]Block{"198.51.100.7/32": {Left: time.Hour, HasAllowed: true}}},
		{name: "10000 networks, outside", frame: innocent4, networks: 10_000},
		{name: "10000 networks, outside, IPv6", frame: innocent6, networks: 10_000, also: map[string]Block{"2001:db8:4::/48": {}}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			g := newBench(b, func(o *Options) { o.Sources, o.Networks = 200_000, 200_000 })
			fill(g, bench.sources, bench.networks)
			for prefix, block := range bench.also {
				g.put(prefix, block)
			}
			require.NoError(b, g.Allow([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}))
			empty, err := ebpf.NewProgram(street.EmptyProgram())
			require.NoError(b, err)
			defer empty.Close()
			subjects := []*ebpf.Program{empty, g.objects.Programs[guardProgGuardIngressEth]}
			least := []float64{math.Inf(1), math.Inf(1)}
			for b.Loop() {
				for i, program := range subjects {
					least[i] = min(least[i], nanoseconds(b, program, bench.frame))
				}
			}
			b.ReportMetric(least[0], "empty-ns")
			b.ReportMetric(least[1], "ns/packet")
			b.ReportMetric(least[1]/least[0], "x-empty")
		})
	}
}

// nanoseconds is what one packet takes. The kernel's own figure has no fractions.
func nanoseconds(b *testing.B, program *ebpf.Program, frame []byte) float64 {
	b.Helper()
	const packets = 20_000
	begin := time.Now()
	_, _, err := program.Benchmark(frame, packets, nil)
	elapsed := time.Since(begin)
	require.NoError(b, err)
	return float64(elapsed.Nanoseconds()) / packets
}

// fill blocks sources in 100.64.0.0/10, and networks in 16.0.0.0/4.
func fill(g *bench, sources, networks int) {
	g.t.Helper()
	at := func(base uint32) netip.Addr {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, base)))
	}
	for i := range uint32(sources) {
		require.NoError(g.t, g.Put(netip.PrefixFrom(at(100<<24|64<<16+i), 32), Block{}))
	}
	for i := range uint32(networks) {
		require.NoError(g.t, g.Put(netip.PrefixFrom(at(16<<24+i<<12), 20+int(i%5)), Block{}))
	}
}
