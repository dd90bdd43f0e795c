// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"net/netip"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// place is a Key in a form that is small and has no pointers, so that it is found quickly.
type place struct {
	client, server         [16]byte
	netns                  uint32
	clientPort, serverPort uint16
}

func placeOf(on *request.Connection) place {
	return place{
		client: on.Client.Addr().As16(), server: on.Server.Addr().As16(), netns: on.NetNS,
		clientPort: on.Client.Port(), serverPort: on.Server.Port(),
	}
}

// key is the Key of a place. IPv4 in IPv6 is plain IPv4, as flow.Flow says.
func (p *place) key() Key {
	address := func(b [16]byte, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16(b).Unmap(), port)
	}
	return Key{
		Flow:  flow.Flow{Client: address(p.client, p.clientPort), Server: address(p.server, p.serverPort)},
		NetNS: p.netns,
	}
}
