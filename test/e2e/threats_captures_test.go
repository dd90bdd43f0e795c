// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/replay"
)

// TestThreatsOfCaptures replays what scanners sent to a host that has the addresses of the capture's:
// its kernel answers, and the connector judges.
func TestThreatsOfCaptures(t *testing.T) {
	if os.Getenv("EBPF_TCP_PCAPS") == "" {
		t.Log("EBPF_TCP_PCAPS unset: no capture is read")
		return
	}
	for file, expected := range map[string]struct{ rule, source string }{
		"port_scan.pcap": {"port_scan", "192.168.2.154"},
		"synscan.pcap":   {"port_scan", "172.16.0.8"},
		// Few ports, three of them by segments with FIN, without flags, and with FIN, PSH and URG.
		"tcp_scan.pcapng": {"stealth_scan", "192.168.1.178"},
	} {
		t.Run(file, func(t *testing.T) {
			capture, err := replay.Read(filepath.Join(os.Getenv("EBPF_TCP_PCAPS"), "scan", file))
			require.NoError(t, err)
			j := replayScan(t, capture)
			found := j.still(t, expected.rule)
			assert.Equal(t, expected.source, found.values["client.address"])
		})
	}
}

// replayScan has what the scanner sent arrive at a host with a collector. The ports that answered in
// the capture listen.
func replayScan(t *testing.T, capture *replay.Capture) *judged {
	t.Helper()
	needing(t, "refused")
	n := newNetwork(t)
	first := capture.Frames[slices.IndexFunc(capture.Frames, func(f replay.Frame) bool { return f.TCP != nil && f.TCP.SYN && !f.TCP.ACK })]
	scanner, host := first.From.Addr(), first.To.Addr()
	require.True(t, capture.Ethernet)
	var device *replay.Device
	require.NoError(t, n.server.Do(func() (err error) {
		device, err = replay.Open("capture0", true)
		return err
	}))
	t.Cleanup(func() { assert.NoError(t, device.Close()) })
	to, from := net.HardwareAddr(first.Data[:6]), net.HardwareAddr(first.Data[6:12])
	n.server.ip(t, "link set capture0 down")
	n.server.ip(t, "link set capture0 address "+to.String())
	n.server.ip(t, "link set capture0 up")
	n.server.ip(t, fmt.Sprintf("address add %s/32 dev capture0", host))
	n.server.ip(t, fmt.Sprintf("route add %s/32 dev capture0", scanner))
	n.server.ip(t, fmt.Sprintf("neighbour replace %s lladdr %s dev capture0 nud permanent", scanner, from))
	listening := map[uint16]bool{}
	for _, f := range capture.Frames {
		if f.TCP != nil && f.TCP.SYN && f.TCP.ACK && !listening[f.From.Port()] {
			listening[f.From.Port()] = true
			n.server.startServer(t, int(f.From.Port()))
		}
	}
	j := startJudgeIn(t, n, "    sources: {enabled: true}\n", "    rules: {distributed_scan: {gather: "+gather.String()+"}}\n")
	for i := range capture.Frames {
		if f := &capture.Frames[i]; f.TCP != nil && f.From.Addr() == scanner {
			require.NoError(t, device.Arrive(f.Data))
		}
	}
	return j
}
