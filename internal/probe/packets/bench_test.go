// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package packets

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/internal/reference"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// BenchmarkTC reports the cost of a packet as a multiple of an empty program. For some packets
// there is also a reference in bpf/bench/reference.bpf.c that does the bare minimum. All
// programs of a run take turns. The least of several rounds counts for each, because the
// machine does other things.
//
// Packets of no interest have a floor. Parsing alone and two counters in a per-CPU map, "parse
// and count", were 1.13 x an empty program, and data was 1.27 x.
func BenchmarkTC(b *testing.B) {
	stamped := func(tcp *layers.TCP) {
		nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop}
		stamp := layers.TCPOption{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)}
		tcp.Options = []layers.TCPOption{nop, nop, stamp}
	}
	data := wire.Build(b, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(), wire.Segment(stamped), wire.Payload(1400))
	data6 := wire.Build(b, wire.Ethernet(layers.EthernetTypeIPv6), wire.IPv6(layers.IPProtocolTCP), wire.Segment(stamped), wire.Payload(1400))
	elsewhere := wire.Build(b, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(), wire.Segment(stamped, func(tcp *layers.TCP) { tcp.DstPort = 9 }), wire.Payload(1400))
	syn := wire.Build(b, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(), wire.Segment(wire.OnlySYN))
	quiet := func(c *settings.Config) { c.PacketSampleRate = 0 }
	halfOpen := func(c *settings.Config) { c.HalfOpen = true }
	sources := func(c *settings.Config) {
		c.Sources = settings.Sources{Enabled: true, Services: true, IPv6Prefix: 64, MaxSources: 65536}
	}
	// Of this host: a test run takes the frame as received by lo, whose address is 0.
	here := wire.Ethernet(layers.EthernetTypeIPv4)
	here.DstMAC = make([]byte, 6)
	synHere := wire.Build(b, here, wire.IPv4(), wire.Segment(wire.OnlySYN))
	local := []netip.Addr{wire.Server4, wire.Server6}
	for _, bench := range []benchmark{
		{name: "parse and count", frame: data, alone: "count_packet"},
		{name: "data", frame: data, cfg: config(quiet)},
		{name: "data IPv6", frame: data6, cfg: config(quiet)},
		{name: "data, addresses checked", frame: data, cfg: config(quiet), check: true, local: local},
		{name: "data IPv6, addresses checked", frame: data6, cfg: config(quiet), check: true, local: local},
		{name: "data, in a local prefix", frame: data, cfg: config(quiet), check: true, prefixes: []string{"192.0.2.0/24"}},
		{name: "data, forwarded", frame: data, cfg: config(quiet), check: true},
		{name: "port without listener", frame: elsewhere, cfg: config(quiet)},
		{name: "SYN", frame: syn, cfg: config(quiet), against: "count_syn"},
		{name: "SYN, new clients", frame: syn, cfg: config(quiet), against: "count_syn", vary: true},
		{name: "SYN, half-open tracked", frame: syn, cfg: config(quiet, halfOpen), against: "track_syn"},
		{name: "SYN, half-open tracked, new clients", frame: syn, cfg: config(quiet, halfOpen), against: "track_syn", vary: true},
		{name: "data, sources counted", frame: data, cfg: config(quiet, sources)},
		{name: "SYN, of a known source", frame: synHere, cfg: config(quiet, sources), against: "count_syn"},
		{name: "SYN, of a flood", frame: synHere, cfg: config(quiet, sources), against: "count_syn", vary: true, flood: true},
		{name: "data, one in 1000 selected", frame: data, cfg: config(func(c *settings.Config) { c.PacketSampleRate = 1000 })},
		{name: "data, clients filtered", frame: data, cfg: config(quiet, includeTestClients)},
	} {
		b.Run(bench.name, bench.run)
	}
}

// benchmark is one kind of packet and what is asked of the programs.
type benchmark struct {
	name  string
	frame []byte
	cfg   settings.Config
	// check makes the programs look up addresses. local and prefixes are this host's.
	check    bool
	local    []netip.Addr
	prefixes []string
	// against is the reference program, alone one to be measured instead of ours.
	against, alone string
	// vary gives each packet another client: no map knows it yet. The program that does
	// it is part of all figures, of the empty program's too.
	vary bool
	// flood fills the maps first, and keeps sources out that the sketch has not seen often.
	flood bool
}

func (t benchmark) run(b *testing.B) {
	spec, err := reference.LoadPrograms()
	require.NoError(b, err)
	references, err := ebpf.NewCollection(spec)
	require.NoError(b, err)
	b.Cleanup(references.Close)
	empty, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, empty.Close()) })

	subjects := []subject{{prog: empty}, {prog: references.Programs[t.alone]}}
	if t.alone == "" {
		subjects[1] = t.ours(b)
	}
	if t.against != "" {
		subjects = append(subjects, subject{prog: references.Programs[t.against], clear: references.Maps["attempts"]})
	}
	least := make([]float64, len(subjects))
	for i := range least {
		least[i] = math.Inf(1)
	}
	if t.flood {
		for range references.Maps["sources"].MaxEntries() / floodRound {
			for _, subject := range subjects[1:] {
				t.nanoseconds(b, subject, references)
			}
		}
	}
	for b.Loop() {
		for i, subject := range subjects {
			least[i] = min(least[i], t.nanoseconds(b, subject, references))
		}
	}
	b.ReportMetric(least[0], "empty-ns")
	b.ReportMetric(least[1], "ns/packet")
	b.ReportMetric(least[1]/least[0], "x-empty")
	if t.against != "" {
		b.ReportMetric(least[2], "reference-ns")
		b.ReportMetric(least[1]/least[2], "x-reference")
	}
}

// subject is a program that is measured, and the map that it fills.
type subject struct {
	prog  *ebpf.Program
	clear *ebpf.Map
}

func (t benchmark) ours(b *testing.B) subject {
	tc := newBench(b, t.cfg)
	require.NoError(b, tc.setLookFurther(t.check))
	local := singles(t.local...)
	for _, prefix := range t.prefixes {
		local[mappedPrefix(prefix)] = true
	}
	left, err := tc.addresses.Set(local)
	require.NoError(b, err)
	require.Zero(b, left)
	if t.flood {
		require.NoError(b, tc.maps["source_gate"].Put(uint32(0), shared.SourceGate{Promote: 8, Crowded: 8}))
	}
	return subject{prog: tc.objects.Programs["tc_ingress_eth"], clear: tc.maps["half_open_handshakes"]}
}

// floodRound is how many new clients a round has.
const floodRound = 16_000

// nanoseconds is what one packet takes. The kernel's own figure has no fractions.
func (t benchmark) nanoseconds(b *testing.B, subject subject, references *ebpf.Collection) float64 {
	b.Helper()
	packets, prog := 20_000, subject.prog
	if t.vary {
		require.NoError(b, references.Maps["measured"].Put(uint32(0), subject.prog))
		// Fewer than the map has room for.
		packets, prog = floodRound, references.Programs["vary"]
		clearMap(b, subject.clear)
	}
	begin := time.Now()
	_, _, err := prog.Benchmark(t.frame, packets, nil)
	elapsed := time.Since(begin)
	require.NoError(b, err)
	return float64(elapsed.Nanoseconds()) / float64(packets)
}

func clearMap(b testing.TB, m *ebpf.Map) {
	b.Helper()
	if m == nil {
		return
	}
	key := make([]byte, m.KeySize())
	for m.NextKey(nil, &key) == nil {
		require.NoError(b, m.Delete(key))
	}
}
