// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// BenchmarkTC reports what a packet costs, as a multiple of an empty program in the
// same run: the least of several rounds, for the machine does other things.
func BenchmarkTC(b *testing.B) {
	empty, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, empty.Close()) })

	stamped := func(tcp *layers.TCP) {
		nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop}
		stamp := layers.TCPOption{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)}
		tcp.Options = []layers.TCPOption{nop, nop, stamp}
	}
	data := build(b, ethernet(layers.EthernetTypeIPv4), ipv4(), tcpSegment(stamped), payload(1400))
	data6 := build(b, ethernet(layers.EthernetTypeIPv6), ipv6(layers.IPProtocolTCP), tcpSegment(stamped), payload(1400))
	elsewhere := build(b, ethernet(layers.EthernetTypeIPv4), ipv4(), tcpSegment(stamped, func(tcp *layers.TCP) { tcp.DstPort = 9 }), payload(1400))
	syn := build(b, ethernet(layers.EthernetTypeIPv4), ipv4(), tcpSegment(onlySYN))
	quiet := func(c *Config) { c.PacketSampleRate = 0 }
	for _, bench := range []struct {
		name  string
		frame []byte
		cfg   Config
		check bool
	}{
		{"data", data, tcConfig(quiet), false},
		{"data IPv6", data6, tcConfig(quiet), false},
		{"data, addresses checked", data, tcConfig(quiet), true},
		{"port without listener", elsewhere, tcConfig(quiet), false},
		{"SYN", syn, tcConfig(quiet), false},
		{"SYN, half-open tracked", syn, tcConfig(quiet, func(c *Config) { c.HalfOpen = true }), false},
		{"data, one in 1000 selected", data, tcConfig(func(c *Config) { c.PacketSampleRate = 1000 }), false},
		{"data, clients filtered", data, tcConfig(quiet, includeTestClients), false},
	} {
		b.Run(bench.name, func(b *testing.B) {
			tc := newTCBench(b, bench.cfg)
			if bench.check {
				require.NoError(b, tc.setLookFurther(true))
			}
			prog := tc.objects.Programs["tc_ingress_eth"]
			var base, cost []float64
			for b.Loop() {
				base = append(base, nanoseconds(b, empty, bench.frame))
				cost = append(cost, nanoseconds(b, prog, bench.frame))
			}
			b.ReportMetric(slices.Min(base), "empty-ns")
			b.ReportMetric(slices.Min(cost), "ns/packet")
			b.ReportMetric(slices.Min(cost)/slices.Min(base), "x-empty")
		})
	}
}

func nanoseconds(b *testing.B, prog *ebpf.Program, frame []byte) float64 {
	b.Helper()
	_, duration, err := prog.Benchmark(frame, 100_000, nil)
	require.NoError(b, err)
	return float64(duration.Nanoseconds())
}
