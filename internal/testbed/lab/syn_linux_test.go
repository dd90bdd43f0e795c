// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestFlood: each SYN is of another source or to another port, and none of a scan goes to
// the port of the server.
func TestFlood(t *testing.T) {
	to := netip.MustParseAddrPort("10.213.0.1:8080")
	distinct := func(f Flood, n int, field func(*[40]byte) uint32) map[uint32]bool {
		seen := map[uint32]bool{}
		for i := range n {
			from, to := f.Addresses(i)
			packet := synPacket(from, to, uint32(i))
			seen[field(&packet)] = true
		}
		return seen
	}
	source := func(p *[40]byte) uint32 { return binary.BigEndian.Uint32(p[12:]) }
	port := func(p *[40]byte) uint32 { return uint32(binary.BigEndian.Uint16(p[22:])) }
	assert.Len(t, distinct(Flood{To: to}, 100_000, source), 100_000)
	assert.Equal(t, map[uint32]bool{8080: true}, distinct(Flood{To: to}, 100, port))
	ports := distinct(Flood{To: to, Ports: true}, ClosedPorts, port)
	assert.Len(t, ports, ClosedPorts)
	assert.NotContains(t, ports, uint32(8080))
	assert.NotContains(t, ports, uint32(0))
	assert.Len(t, distinct(Flood{To: to, Ports: true}, ClosedPorts, source), 1)
}

func TestPoolAddress(t *testing.T) {
	pool := netip.MustParsePrefix("10.214.0.0/16")
	assert.Equal(t, "10.214.1.2", poolAddress(pool, 258).String())
	assert.Equal(t, "10.214.0.0", poolAddress(pool, 1<<16).String())
	assert.Equal(t, "0.0.0.0", poolAddress(netip.Prefix{}, 3).String())
}
