// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/address"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
)

// Routes reads the routes of all tables, in the network namespace of the calling thread.
func Routes() (*Addresses, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	defer handle.Close()
	a := &Addresses{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		// RT_TABLE_UNSPEC asks for every table: next hops of policy routing count, too.
		filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
		if err := handle.RouteListFilteredIter(family, filter, netlink.RT_FILTER_TABLE, a.add); err != nil {
			return nil, fmt.Errorf("list routes of family %d: %w", family, err)
		}
	}
	return a, nil
}

// add takes what a route says.
func (a *Addresses) add(r netlink.Route) bool {
	detail := ""
	if r.LinkIndex > 0 {
		detail = fmt.Sprintf("interface %d", r.LinkIndex)
	}
	switch r.Type {
	case unix.RTN_LOCAL:
		if p := network(r.Dst); p.IsValid() {
			a.Own = append(a.Own, allow.Entry{Prefix: p, Why: allow.OwnAddress, Detail: detail})
		}
		return true
	case unix.RTN_UNICAST:
	default:
		return true
	}
	next := []net.IP{r.Gw}
	if via, ok := r.Via.(*netlink.Via); ok && via != nil {
		next = append(next, via.Addr)
	}
	for _, hop := range r.MultiPath {
		next = append(next, hop.Gw)
		if via, ok := hop.Via.(*netlink.Via); ok && via != nil {
			next = append(next, via.Addr)
		}
	}
	direct := true
	for _, ip := range next {
		addr, ok := netip.AddrFromSlice(ip)
		if !ok || addr.IsUnspecified() {
			continue
		}
		direct = false
		a.Gateways = append(a.Gateways, allow.Entry{Prefix: address.Of(addr), Why: allow.Gateway, Detail: detail})
	}
	if p := network(r.Dst); direct && p.IsValid() && p.Bits() > 0 && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() {
		a.Networks = append(a.Networks, p)
	}
	return true
}

// network is a destination as a prefix; invalid if there is none.
func network(dst *net.IPNet) netip.Prefix {
	if dst == nil {
		return netip.Prefix{}
	}
	addr, ok := netip.AddrFromSlice(dst.IP)
	bits, _ := dst.Mask.Size()
	if !ok {
		return netip.Prefix{}
	}
	if addr.Is4In6() && bits <= 32 {
		addr = addr.Unmap()
	}
	p, err := address.Canonical(netip.PrefixFrom(addr, bits))
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
