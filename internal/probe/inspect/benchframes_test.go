// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package inspect

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/gopacket/gopacket"
	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// framesPayload is the size of the segments of BenchmarkFrames.
const framesPayload = 1400

// BenchmarkFrames reports the cost of a segment of a connection whose frames are followed, as a
// multiple of an empty program. What a program reads of a segment moves the number that it waits
// for, so each run is a call of its own, which begins with the number set back. The kernel's clock
// around a single run counts for the empty program as well, and the difference is what is added.
func BenchmarkFrames(b *testing.B) {
	b.Run("none begins", func(b *testing.B) { benchmarkFrames(b, wire.Payload(framesPayload), 1<<20, 0) })
	for _, heads := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("%d heads", heads), func(b *testing.B) {
			benchmarkFrames(b, dataFrames(heads), 0, heads)
		})
	}
	b.Run("HEADERS", func(b *testing.B) { benchmarkFrames(b, headersFrame(), 0, 0) })
}

// dataFrames are so many frames of DATA.
func dataFrames(n int) gopacket.Payload {
	var out bytes.Buffer
	framer := h2.NewFramer(&out, nil)
	for i := range n {
		size := framesPayload / n
		if i == 0 {
			size += framesPayload % n
		}
		_ = framer.WriteData(1, false, make([]byte, size-9))
	}
	return out.Bytes()
}

// headersFrame is a small answer.
func headersFrame() gopacket.Payload {
	var out bytes.Buffer
	_ = h2.NewFramer(&out, nil).WriteHeaders(h2.HeadersFrameParam{
		StreamID: 1, EndStream: true, EndHeaders: true, BlockFragment: make([]byte, 60),
	})
	return out.Bytes()
}

// benchmarkFrames sends a segment whose first byte is so far before the next frame.
func benchmarkFrames(b *testing.B, payload gopacket.Payload, ahead uint32, heads int) {
	inNetNS(b)
	r := startRig(b, config(func(c *settings.Config) { c.Inspect.RingBytes = benchRing }))
	empty, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, empty.Close()) })
	p := packetBenchmark{port: serverPort, payload: payload, egress: true}
	p.begin(b, r)
	frame := p.frame(b)
	f := flow.Flow{Client: netip.AddrPortFrom(wire.Client4, wire.ClientPort), Server: netip.AddrPortFrom(wire.Server4, p.port)}
	words, _, tag := r.words.entry(r.context.OwnNetNS, &f)
	require.NotNil(b, words)
	begins := tag<<tagShift | wordFrames | uint64(wire.Segment().Seq+ahead)
	ours := r.guest.objects.Programs["inspect_egress_eth"]
	// A single run, with the clock's own time in both.
	added, alone := math.Inf(1), math.Inf(1)
	plain := math.Inf(1)
	for b.Loop() {
		plain = min(plain, nanoseconds(b, empty, frame))
		for range 2000 {
			alone = min(alone, single(b, empty, frame))
			words[stream.ToClient] = begins
			added = min(added, single(b, ours, frame))
		}
		r.Drain(nothing{})
	}
	added -= alone
	b.ReportMetric(plain, "empty-ns")
	b.ReportMetric(added, "added-ns")
	b.ReportMetric(1+added/plain, "x-empty")
	if heads > 0 {
		b.ReportMetric(added/plain/float64(heads), "x-empty/head")
	}
}

// single is the kernel's time of one run in nanoseconds.
func single(b *testing.B, program *ebpf.Program, frame []byte) float64 {
	b.Helper()
	_, elapsed, err := program.Benchmark(frame, 1, nil)
	require.NoError(b, err)
	return float64(elapsed.Nanoseconds())
}
