// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package tc

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc/dump"
)

// View is one reading of a namespace.
type View struct {
	// Links are all interfaces, by index.
	Links map[int]netlink.Link

	addresses []netlink.Addr
	// addressErr is why the addresses are unknown.
	addressErr error
	// addressed are the interfaces that others can reach at an address.
	addressed map[int]bool
}

func (m *Manager) look() (*View, error) {
	list, err := dump.Watched(m.netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	v := &View{Links: make(map[int]netlink.Link, len(list)), addressed: make(map[int]bool)}
	for _, link := range list {
		v.Links[link.Attrs().Index] = link
	}
	v.addresses, err = dump.Watched(func() ([]netlink.Addr, error) { return m.netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		v.addressErr = fmt.Errorf("list the local addresses: %w", err)
	}
	for _, address := range v.addresses {
		if address.IP.IsGlobalUnicast() {
			v.addressed[address.LinkIndex] = true
		}
	}
	return v, nil
}

// Local returns the local prefixes of the namespace, IPv4 mapped: the kernel's local routes,
// and the addresses of interfaces, which appear a little before their routes. It reads the
// routes at the call, on the thread of Look.
func (v *View) Local() (map[netip.Prefix]bool, error) {
	local, err := localRoutes()
	if err = errors.Join(v.addressErr, err); err != nil {
		return nil, err
	}
	for _, address := range v.addresses {
		if ip, ok := netip.AddrFromSlice(address.IP.To16()); ok {
			local[netip.PrefixFrom(ip, ip.BitLen())] = true
		}
	}
	return local, nil
}
