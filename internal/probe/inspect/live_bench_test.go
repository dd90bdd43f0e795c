// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package inspect

import (
	"fmt"
	"io"
	"math/bits"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/internal/reference"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// liveRequests are those of a round. The ring has room for all of them.
const liveRequests = 4000

// BenchmarkInspectLive reports the kernel's own figure of what both programs take for a request
// and its answer on loopback, with heads of 512 bytes. What empty programs take at the same hooks is
// subtracted. It is compared with programs that only copy both heads. Each round attaches one pair, so
// that none finds in the caches what another one has read.
func BenchmarkInspectLive(b *testing.B) {
	inNetNS(b)
	r := startRig(b, config(func(c *settings.Config) { c.Inspect.RingBytes = benchRing }))
	require.NoError(b, r.guest.Detach())
	statistics, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, statistics.Close()) })
	references, heads := liveReference(b)
	pairs := [3]hookPair{
		{emptyProgram(b), emptyProgram(b)},
		{references["copy_request"], references["copy_answer"]},
		{r.guest.objects.Programs["inspect_ingress_eth"], r.guest.objects.Programs["inspect_egress_eth"]},
	}
	address := echoHeads(b)
	var taken [len(pairs)][]float64
	var ratios []float64
	for b.Loop() {
		for i, pair := range pairs {
			taken[i] = append(taken[i], pair.nanoseconds(b, r, address))
		}
		r.Drain(nothing{})
		for heads.read() != nil {
			heads.release(false)
		}
		heads.release(true)
		last := len(ratios)
		ratios = append(ratios, (taken[2][last]-taken[0][last])/(taken[1][last]-taken[0][last]))
	}
	for i, name := range [len(pairs)]string{"empty-ns/request", "copy-ns/request", "ns/request"} {
		b.ReportMetric(middle(taken[i]), name)
	}
	b.ReportMetric(middle(ratios), "x-copy")
	figures, err := r.Figures()
	require.NoError(b, err)
	require.Zero(b, figures.Lost)
	require.GreaterOrEqual(b, figures.Segments, uint64(2*liveRequests*len(ratios)), "both heads cross")
}

func middle(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// liveReference is programs that only copy heads, and their ring buffer.
func liveReference(b *testing.B) (map[string]*ebpf.Program, *ring) {
	b.Helper()
	spec, err := reference.LoadPrograms()
	require.NoError(b, err)
	require.NoError(b, spec.Variables["copied_port"].Set(bits.ReverseBytes16(serverPort)))
	references, err := ebpf.NewCollection(spec)
	require.NoError(b, err)
	b.Cleanup(references.Close)
	heads, err := newRing(references.Maps["heads"])
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, heads.close()) })
	return references.Programs, heads
}

func emptyProgram(b *testing.B) *ebpf.Program {
	b.Helper()
	empty, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, empty.Close()) })
	return empty
}

// hookPair is the programs at ingress and egress of lo.
type hookPair [2]*ebpf.Program

// nanoseconds is the run time of both for a request.
func (p hookPair) nanoseconds(b *testing.B, r *rig, address string) float64 {
	b.Helper()
	for i, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		lo, err := net.InterfaceByName(loopback)
		require.NoError(b, err)
		l, err := link.AttachTCX(link.TCXOptions{Interface: lo.Index, Program: p[i], Attach: at})
		require.NoError(b, err)
		defer func() { require.NoError(b, l.Close()) }()
	}
	conn, err := net.Dial("tcp", address)
	require.NoError(b, err)
	defer conn.Close()
	askForHead(b, conn)
	f := flow.Flow{
		Client: conn.LocalAddr().(*net.TCPAddr).AddrPort(), Server: conn.RemoteAddr().(*net.TCPAddr).AddrPort(),
	}
	// No socket hooks are attached, so nothing tells the connection. With them, the first answer has.
	if words, _, _ := r.words.entry(r.context.OwnNetNS, &f); words != nil {
		words[stream.ToClient] &^= wordNew
	}
	before := p.runtime(b)
	for range liveRequests {
		askForHead(b, conn)
	}
	return (p.runtime(b) - before) / liveRequests
}

func askForHead(b *testing.B, conn net.Conn) {
	b.Helper()
	_, err := conn.Write(head(benchHead))
	require.NoError(b, err)
	var answer [benchHead]byte
	_, err = io.ReadFull(conn, answer[:])
	require.NoError(b, err)
}

func (p hookPair) runtime(b *testing.B) float64 {
	b.Helper()
	var total float64
	for _, program := range p {
		stats, err := program.Stats()
		require.NoError(b, err)
		total += float64(stats.Runtime.Nanoseconds())
	}
	return total
}

// echoHeads serves an answer for each request, as many bytes long.
func echoHeads(b *testing.B) string {
	b.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", serverPort))
	require.NoError(b, err)
	done := make(chan struct{})
	const begin, end = "HTTP/1.1 204 No Content\r\nX-Filler: ", "\r\n\r\n"
	answer := []byte(begin + strings.Repeat("x", benchHead-len(begin)-len(end)) + end)
	go func() {
		defer close(done)
		request := make([]byte, benchHead)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			for err == nil {
				if _, err = io.ReadFull(conn, request); err == nil {
					_, err = conn.Write(answer)
				}
			}
			_ = conn.Close()
		}
	}()
	b.Cleanup(func() {
		require.NoError(b, listener.Close())
		<-done
	})
	return listener.Addr().String()
}
