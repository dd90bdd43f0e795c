// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

func reportingServices(s *Sources) { s.Records, s.Services = false, true }

// untilCounted waits until facts and kernel agree about a counter, and it is not 0.
func (k *kernel) untilCounted(c source.NamespaceCounter, before uint64) {
	k.t.Helper()
	k.until(c.String(), func() bool {
		return k.counters[c] > 0 && k.counters[c] == netstat(k.t, c.String())-before
	})
}

// TestServicesInASYNFlood: a flood of forged clients makes the namespace send SYN cookies.
func TestServicesInASYNFlood(t *testing.T) {
	enterNetNS(t)
	// As many half-open connections as may wait to be accepted make it send cookies.
	require.NoError(t, os.WriteFile("/proc/sys/net/core/somaxconn", []byte("16"), 0))
	client := newRawClient(t)
	// The host answers only those that it has a route to.
	out, err := exec.Command("ip", "route", "add", "default", "via", "192.0.2.7").CombinedOutput()
	require.NoError(t, err, string(out))
	listen(t, "tcp4", netip.AddrPortFrom(wire.Server4, wire.ServerPort).String())
	before := netstat(t, source.SyncookiesSent.String())
	k := startProbe(t, testConfig(mode(TCAuto), included("server"), countingSources(reportingServices)))
	for n := range 100 {
		link, ip := wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4()
		link.DstMAC, ip.SrcIP = client.hardware, net.IPv4(198, 18, 0, byte(n)).To4()
		client.peer.Send(t, "peer-server", wire.Build(t, link, ip, wire.Segment(wire.OnlySYN)))
	}
	k.untilCounted(source.SyncookiesSent, before)
	k.untilCounted(source.TCPReqQFullDoCookies, 0)
	k.until("all SYNs", func() bool {
		var syns, completed uint64
		for i := range k.services {
			syns, completed = syns+*k.services[i].SYNs, completed+*k.services[i].Completed
		}
		return syns == 100 && completed == 0
	})
	assert.Empty(t, k.sources, "nobody asked for records of sources")
}

// TestServices: the accept queue of a listener that accepts nothing, as the kernel has it.
func TestServices(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig(countingSources(reportingServices)))
	const backlog = 2
	l := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, backlog, true)
	for range backlog + 1 { // the queue has room for one more
		c, err := net.Dial("tcp4", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), l.port).String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
	}
	last := func() *source.Service {
		if len(k.services) == 0 {
			return &source.Service{}
		}
		return &k.services[len(k.services)-1]
	}
	k.until("full accept queue", func() bool {
		length := last().AcceptQueue
		return length != nil && *length == backlog+1
	})
	fared := last()
	assert.EqualValues(t, backlog, *fared.AcceptQueueLimit)
	assert.Equal(t, l.port, fared.Address.Port())
	assert.Positive(t, fared.Interval)
	assert.Nil(t, fared.SYNs, "absent, not 0")
	assert.NotNil(t, fared.Completed)
	if fared.Overflows != nil {
		assert.Zero(t, *fared.Overflows)
	}
	l.close()
	k.until("end of the listener", func() bool { return len(k.unlistens) > 0 })
	reported := len(k.services)
	require.NoError(t, k.probe.Drain(time.Now().Add(300*time.Millisecond)))
	assert.Len(t, k.services, reported, "it ended")
}

// TestServicesOnceWhileItStops: what a detached probe reads does not change any more.
func TestServicesOnceWhileItStops(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig(countingSources(reportingServices)))
	l := listen(t, "tcp4", "127.0.0.1:0")
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	reports := func() int {
		n := 0
		for i := range k.services {
			if k.services[i].Address.Port() == port {
				n++
			}
		}
		return n
	}
	k.until("the listener's first record", func() bool { return reports() > 0 })
	require.NoError(t, k.probe.Detach())
	before := reports()
	for range 3 {
		require.NoError(t, k.probe.Drain(time.Now().Add(10*time.Millisecond)))
	}
	assert.Equal(t, before+1, reports())
}
