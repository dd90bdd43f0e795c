// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"fmt"
	"path"
	"strings"

	"github.com/vishvananda/netlink"
)

// tcSelection decides which interfaces the packet vantage point attaches to.
type tcSelection struct {
	include, exclude []string
	// addressed are the indexes of interfaces with an address of more than link scope.
	addressed map[int]bool
}

// headers says what a device's packets begin with.
type headers uint8

const (
	headersUnknown headers = iota
	headersEthernet
	headersNone // the packet begins with the IP header
)

// linkHeaders decides by the device's hardware type (ARPHRD).
func linkHeaders(link netlink.Link) headers {
	switch link.Attrs().EncapType {
	case "ether", "loopback":
		return headersEthernet
	case "none", "ppp", "ipip", "tunnel6", "sit", "gre":
		return headersNone
	default:
		return headersUnknown
	}
}

// checkNames returns an error for exact names that no interface has, and the globs
// that match none.
func (s *tcSelection) checkNames(links map[int]netlink.Link) (idle []string, err error) {
	for _, pattern := range s.include {
		found := false
		for _, link := range links {
			found = found || matches(pattern, link.Attrs().Name)
		}
		switch {
		case found || pattern == "*":
		case isGlob(pattern):
			idle = append(idle, pattern)
		default:
			return nil, fmt.Errorf("interfaces::include: there is no interface %q", pattern)
		}
	}
	return idle, nil
}

// selects tells whether an interface is wanted. By default devices whose packets
// pass on another one, too, are left out, so that nothing counts twice; a pattern
// other than "*" asks for them all the same.
func (s *tcSelection) selects(link netlink.Link, links map[int]netlink.Link) bool {
	name := link.Attrs().Name
	for _, pattern := range s.exclude {
		if matches(pattern, name) {
			return false
		}
	}
	matched := false
	for _, pattern := range s.include {
		if !matches(pattern, name) {
			continue
		}
		if pattern != "*" {
			return true
		}
		matched = true
	}
	return matched && !isMember(link, links) && !s.isHostSide(link) && !isStacked(link, links, s)
}

// isMember: a master shows its members' packets itself, whatever its kind is. Drivers
// that put a virtual device above a physical one, as hv_netvsc does, give theirs none.
// A VRF's members are interfaces in their own right.
func isMember(link netlink.Link, links map[int]netlink.Link) bool {
	index := link.Attrs().MasterIndex
	if index == 0 {
		return false
	}
	master, ok := links[index]
	return !ok || master.Type() != "vrf"
}

// isHostSide: the device is one end of a pair whose other end is in another namespace,
// and has no address here. What passes is another host's traffic, which we forward. The
// other end, which is the container's own interface, has an address. The kernel says
// which end of a netkit pair is the container's, so that one needs none.
func (s *tcSelection) isHostSide(link netlink.Link) bool {
	if link.Attrs().NetNsID < 0 || s.addressed[link.Attrs().Index] {
		return false
	}
	switch link := link.(type) {
	case *netlink.Veth:
		return true
	case *netlink.Netkit:
		return link.IsPrimary()
	default:
		return false
	}
}

// isStacked: a device of ours lies below, where the same packets are seen first.
func isStacked(link netlink.Link, links map[int]netlink.Link, s *tcSelection) bool {
	switch link.Type() {
	case "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap":
	default:
		return false
	}
	lower, ok := links[link.Attrs().ParentIndex]
	if !ok || link.Attrs().NetNsID >= 0 || lower.Attrs().Index == link.Attrs().Index {
		return false
	}
	return linkHeaders(lower) == headersEthernet && s.selects(lower, links)
}

// seesForeignPackets: on such a host, packets pass that are not for its addresses,
// even when it does not forward.
func seesForeignPackets(link netlink.Link) bool {
	switch link.Type() {
	case "macvlan", "macvtap", "ipvlan", "ipvtap":
		return true
	default:
		return link.Attrs().Promisc > 0
	}
}

func isGlob(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

// matches trusts that the pattern is well-formed: the configuration was validated.
func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
