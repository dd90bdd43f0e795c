// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package inspect

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/internal/reference"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// What BenchmarkInspect sends: one packet many times, in rounds that take turns.
const (
	benchPackets = 12_000
	// benchRing has room for the records of a round of heads.
	benchRing = 16 << 20
	benchHead = 512
)

// BenchmarkInspect reports the cost of a packet in an inspecting program as a multiple of an
// empty program. The least of several rounds counts for each, because the machine does other
// things.
func BenchmarkInspect(b *testing.B) {
	for _, bench := range []packetBenchmark{
		{name: "port not inspected", port: serverPort + 1, payload: wire.Payload(1400)},
		{name: "acknowledgment", port: serverPort},
		{name: "body", port: serverPort, payload: wire.Payload(1400), body: true},
		{name: "body, sent", port: serverPort, payload: wire.Payload(1400), body: true, egress: true},
		{name: "head", port: serverPort, payload: head(benchHead)},
		{name: "head, sent", port: serverPort, payload: head(benchHead), egress: true},
	} {
		b.Run(bench.name, bench.run)
	}
}

// nothing takes segments and forgets them.
type nothing struct{}

func (nothing) Segment(*request.Connection, *stream.Segment) {}

// head is a request of a length.
func head(length int) gopacket.Payload {
	const begin, end = "GET / HTTP/1.1\r\nHost: a\r\nX-Filler: ", "\r\n\r\n"
	return gopacket.Payload(begin + strings.Repeat("x", length-len(begin)-len(end)) + end)
}

// packetBenchmark is one kind of packet of a known connection.
type packetBenchmark struct {
	name    string
	port    uint16
	payload gopacket.Payload
	egress  bool
	// body makes user space know that the payload is body.
	body bool
}

func (p packetBenchmark) run(b *testing.B) {
	inNetNS(b)
	r := startRig(b, config(func(c *settings.Config) { c.Inspect.RingBytes = benchRing }))
	require.NoError(b, shared.MarkPort(r.ports, serverPort+1, true))
	empty, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, empty.Close()) })
	ours := r.guest.objects.Programs["inspect_ingress_eth"]
	if p.egress {
		ours = r.guest.objects.Programs["inspect_egress_eth"]
	}
	programs := []*ebpf.Program{empty, ours}
	copying, heads := copyingReference(b)
	if len(p.payload) == benchHead {
		programs = append(programs, copying)
	}
	p.begin(b, r)
	frame := p.frame(b)
	least := [3]float64{math.Inf(1), math.Inf(1), math.Inf(1)}
	for b.Loop() {
		for i, program := range programs {
			least[i] = min(least[i], nanoseconds(b, program, frame))
		}
		r.Drain(nothing{})
		for heads.read() != nil {
			heads.release(false)
		}
		heads.release(true)
	}
	b.ReportMetric(least[0], "empty-ns")
	b.ReportMetric(least[1], "ns/packet")
	b.ReportMetric(least[1]/least[0], "x-empty")
	if len(programs) == len(least) {
		b.ReportMetric(least[2], "copy-ns")
		b.ReportMetric((least[1]-least[0])/(least[2]-least[0]), "x-copy")
	}
	figures, err := r.Figures()
	require.NoError(b, err)
	require.Zero(b, figures.Lost)
	require.Equal(b, p.payload != nil && p.port == serverPort && !p.body, figures.Segments > 0, "only wanted bytes cross")
}

// copyingReference is a program that only copies a head, and its ring buffer.
func copyingReference(b *testing.B) (*ebpf.Program, *ring) {
	b.Helper()
	spec, err := reference.LoadPrograms()
	require.NoError(b, err)
	references, err := ebpf.NewCollection(spec)
	require.NoError(b, err)
	b.Cleanup(references.Close)
	heads, err := newRing(references.Maps["heads"])
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, heads.close()) })
	return references.Programs["copy_head"], heads
}

// begin lets the programs see the beginning of the connection, and says what is wanted of it.
func (p packetBenchmark) begin(b *testing.B, r *rig) {
	b.Helper()
	answer := p
	answer.payload, answer.egress = nil, true
	_, err := r.guest.objects.Programs["inspect_egress_eth"].Run(&ebpf.RunOptions{Data: answer.frame(b, func(tcp *layers.TCP) {
		tcp.SYN, tcp.ACK, tcp.Ack = true, true, tcp.Seq
		tcp.Seq--
	})})
	require.NoError(b, err)
	f := flow.Flow{
		Client: netip.AddrPortFrom(wire.Client4, wire.ClientPort), Server: netip.AddrPortFrom(wire.Server4, p.port),
	}
	for d := range stream.Direction(stream.Directions) {
		wanted := wire.Segment().Seq
		if p.body {
			wanted += 1 << 30
		}
		r.Want(r.context.OwnNetNS, &f, d, wanted)
	}
	if words, _, _ := r.words.entry(r.context.OwnNetNS, &f); words != nil {
		words[stream.ToClient] &^= wordNew // an answer before has told the connection
	}
}

// frame is a packet of the connection. Its numbers are the same in both directions.
func (p packetBenchmark) frame(b *testing.B, change ...func(*layers.TCP)) []byte {
	nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop}
	stamp := layers.TCPOption{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)}
	tcp := wire.Segment(append(change, func(tcp *layers.TCP) {
		tcp.DstPort = layers.TCPPort(p.port)
		tcp.Options = []layers.TCPOption{nop, nop, stamp}
		if !tcp.SYN {
			tcp.Ack = tcp.Seq
		}
	})...)
	ip := wire.IPv4()
	if p.egress {
		tcp.SrcPort, tcp.DstPort = tcp.DstPort, tcp.SrcPort
		ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
	}
	if p.payload == nil {
		return wire.Build(b, wire.Ethernet(layers.EthernetTypeIPv4), ip, tcp)
	}
	return wire.Build(b, wire.Ethernet(layers.EthernetTypeIPv4), ip, tcp, p.payload)
}

// nanoseconds is what one packet takes. The kernel's own figure has no fractions.
func nanoseconds(b *testing.B, program *ebpf.Program, frame []byte) float64 {
	b.Helper()
	begin := time.Now()
	_, _, err := program.Benchmark(frame, benchPackets, nil)
	elapsed := time.Since(begin)
	require.NoError(b, err)
	return float64(elapsed.Nanoseconds()) / benchPackets
}
