// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package guard

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// path is a wire whose packets somebody drops. The sender's processor does all of it.
type path struct {
	device string
	fd     int
	frame  []byte
	to     unix.SockaddrLinklayer
	least  float64
}

// newPath has a frame that the device takes as its own.
func newPath(b *testing.B, peer *wire.Peer, device string) *path {
	b.Helper()
	peer.Veth(b, device)
	peer.EventuallyUp(b, "peer-"+device)
	p := &path{device: device, least: math.Inf(1)}
	p.frame = wire.Build(b, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(to("192.0.2.1")), wire.Segment(func(s *layers.TCP) { s.SYN, s.ACK = true, false }))
	copy(p.frame, wire.HardwareAddress(b, device))
	peer.In(func() {
		if other, err := netlink.LinkByName("peer-" + device); err == nil {
			p.to = unix.SockaddrLinklayer{Ifindex: other.Attrs().Index}
		}
		p.fd, _ = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	})
	require.Positive(b, p.fd)
	require.NotZero(b, p.to.Ifindex)
	b.Cleanup(func() { _ = unix.Close(p.fd) })
	return p
}

// send sends so many frames, and keeps the least time that one took.
func (p *path) send(b *testing.B, n int) {
	b.Helper()
	begin := time.Now()
	for range n {
		if err := unix.Sendto(p.fd, p.frame, 0, &p.to); err != nil {
			b.Fatal(err)
		}
	}
	p.least = min(p.least, float64(time.Since(begin).Nanoseconds())/float64(n))
}

// nftables has a set of 100,000 sources and of the one that sends, and drops what comes from it.
func nftables(b *testing.B, family, hook string) {
	b.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "table %s dropping {\nset sources { type ipv4_addr; size 200000; elements = { 198.51.100.7", family)
	for i := range 100_000 {
		fmt.Fprintf(&text, ", 100.%d.%d.%d", 64+i/65536, i/256%256, i%256)
	}
	fmt.Fprintf(&text, " } }\nchain packets { type filter hook %s priority 0; ip saddr @sources drop; }\n}\n", hook)
	file := filepath.Join(b.TempDir(), "rules")
	require.NoError(b, os.WriteFile(file, []byte(text.String()), 0o600))
	out, err := exec.Command("nft", "-f", file).CombinedOutput()
	require.NoError(b, err, "%s", out)
}

// BenchmarkDroppedSYN compares the whole path of a packet that is dropped, from the other end of the
// wire on, with that of nftables' sets of as many sources. They take turns.
func BenchmarkDroppedSYN(b *testing.B) {
	wire.Enter(b)
	peer := wire.NewPeer(b)
	ours, ingress, input := newPath(b, peer, "wire0"), newPath(b, peer, "wire1"), newPath(b, peer, "wire2")
	g := newBench(b, func(o *Options) { o.IncludeInterfaces, o.Sources = []string{ours.device}, 200_000 })
	require.NoError(b, g.Start())
	fill(g, 100_000, 0)
	g.put("198.51.100.7/32", Block{Left: time.Hour})
	nftables(b, "netdev", fmt.Sprintf("ingress device %q", ingress.device))
	nftables(b, "ip", "input")
	require.NoError(b, g.Renew())
	before := g.counted("198.51.100.7/32").Packets
	const frames = 10_000
	rounds := 0
	for b.Loop() {
		rounds++
		for _, p := range []*path{ours, ingress, input} {
			p.send(b, frames)
		}
	}
	require.EqualValues(b, rounds*frames, g.counted("198.51.100.7/32").Packets-before)
	b.ReportMetric(ours.least, "ns/packet")
	b.ReportMetric(ingress.least, "netdev-ns")
	b.ReportMetric(input.least, "input-ns")
	b.ReportMetric(ours.least/ingress.least, "x-netdev")
	b.ReportMetric(ours.least/input.least, "x-input")
}
