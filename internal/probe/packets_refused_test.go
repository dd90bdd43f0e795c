// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// Whoever sends the reset, the kernel or a firewall: one refusal each.
func TestTCRefusedOnce(t *testing.T) {
	const open, closed, attempts = wire.ServerPort, 9, 10
	for name, test := range map[string]struct {
		rules string // of a chain for what comes in
		port  uint16
		hook  string
	}{
		"by the kernel":                {"", closed, "filter hook input priority 0"},
		"by nftables":                  {fmt.Sprintf("tcp dport %d reject with tcp reset", closed), closed, "filter hook input priority 0"},
		"by nftables, a port in use":   {fmt.Sprintf("tcp dport %d reject with tcp reset", open), open, "filter hook input priority 0"},
		"by the kernel, at a redirect": {fmt.Sprintf("tcp dport 7 redirect to :%d", closed), 7, "nat hook prerouting priority -100"},
	} {
		for _, halfOpen := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, half-open tracked %t", name, halfOpen), func(t *testing.T) {
				enterNetNS(t)
				other := wire.NewPeer(t)
				other.Veth(t, "server")
				listen(t, "tcp4", netip.AddrPortFrom(wire.Server4, open).String())
				k := startProbe(t, testConfig(mode(TCAuto), included("server"), func(c *Config) {
					// Records are of all namespaces, and so is the rate.
					c.HalfOpen, c.FailedPerSecond = halfOpen, 1<<30
				}))
				if test.rules != "" {
					nft(t, "add table ip test; add chain ip test in { type "+test.hook+"; }; add rule ip test in "+test.rules)
				}
				for range attempts {
					other.In(func() {
						_, err := net.Dial("tcp4", netip.AddrPortFrom(wire.Server4, test.port).String())
						assert.ErrorIs(t, err, unix.ECONNREFUSED)
					})
				}
				k.until("refusals", func() bool { k.snapshot(0); return len(k.failed) >= attempts })
				k.settle()
				require.Len(t, k.failed, attempts)
				for _, failed := range k.failed {
					assert.Equal(t, connection.FailureRefused, failed.Type)
					assert.Equal(t, wire.Server4, failed.Server.Addr())
					assert.Equal(t, "192.0.2.7", failed.Client.Addr().String())
				}
				entries, err := shared.CountEntries(k.probe.maps.Maps["half_open_handshakes"])
				require.NoError(t, err)
				assert.Zero(t, entries)
				assert.EqualValues(t, attempts, k.count(0, connection.Failures, "refused"))
			})
		}
	}
}

// Segments that begin nothing are no attempts, though the kernel resets them alike.
func TestTCRefusesNoOtherSegments(t *testing.T) {
	enterNetNS(t)
	needing(t, refusedByReset)
	client := newRawClient(t)
	k := startProbe(t, testConfig(mode(TCAuto), included("server")))
	for n, flags := range []func(tcp *layers.TCP){
		func(f *layers.TCP) { f.FIN = true },
		func(f *layers.TCP) { f.FIN, f.PSH, f.URG = true, true, true },
		func(*layers.TCP) {},
	} {
		port := layers.TCPPort(2000 + n)
		client.send(func(tcp *layers.TCP) { tcp.ACK, tcp.SrcPort, tcp.DstPort = false, port, 9; flags(tcp) })
		require.True(t, client.answer(port).RST)
	}
	client.send(wire.OnlySYN, func(tcp *layers.TCP) { tcp.SrcPort, tcp.DstPort = 3000, 9 })
	k.until("refusal", func() bool { return len(k.failed) > 0 })
	k.settle()
	require.Len(t, k.failed, 1)
	assert.EqualValues(t, 3000, k.failed[0].Client.Port())
}
