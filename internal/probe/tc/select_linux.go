// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package tc

import (
	"fmt"
	"path"
	"strings"

	"github.com/vishvananda/netlink"
)

// Selection decides which interfaces a program attaches to. Names and globs are as in
// path.Match; an empty Include is "*".
type Selection struct {
	Include, Exclude []string
}

// patterns are those to include.
func (s *Selection) patterns() []string {
	if len(s.Include) == 0 {
		return []string{"*"}
	}
	return s.Include
}

// Headers says what a device's packets begin with.
type Headers uint8

const (
	headersUnknown Headers = iota
	HeadersEthernet
	HeadersNone // the packet begins with the IP header
)

// linkHeaders decides by the device's hardware type (ARPHRD).
func linkHeaders(link netlink.Link) Headers {
	switch link.Attrs().EncapType {
	case "ether", "loopback":
		return HeadersEthernet
	case "none", "ppp", "ipip", "tunnel6", "sit", "gre":
		return HeadersNone
	default:
		return headersUnknown
	}
}

// NoInterfaceError is the name of a selected interface that the namespace lacks.
type NoInterfaceError string

func (e NoInterfaceError) Error() string {
	return fmt.Sprintf("interfaces::include: there is no interface %q", string(e))
}

// checkNames returns an error for exact names that no interface has, and the globs
// that match none.
func (s *Selection) checkNames(links map[int]netlink.Link) (idle []string, err error) {
	for _, pattern := range s.patterns() {
		found := false
		for _, link := range links {
			found = found || matches(pattern, link.Attrs().Name)
		}
		switch {
		case found || pattern == "*":
		case isGlob(pattern):
			idle = append(idle, pattern)
		default:
			return nil, NoInterfaceError(pattern)
		}
	}
	return idle, nil
}

// selects reports whether an interface is wanted. "*" leaves out devices whose packets pass
// on another one, too, so that nothing counts twice. Other patterns include them.
func (s *Selection) selects(link netlink.Link, view *View) bool {
	name := link.Attrs().Name
	for _, pattern := range s.Exclude {
		if matches(pattern, name) {
			return false
		}
	}
	matched := false
	for _, pattern := range s.patterns() {
		if !matches(pattern, name) {
			continue
		}
		if pattern != "*" {
			return true
		}
		matched = true
	}
	return matched && !isMember(link, view) && !isHostSide(link, view) && !s.isStacked(link, view)
}

// isMember reports whether a master shows the device's packets, whatever its kind. Drivers
// that put a virtual device above a physical one, as hv_netvsc does, have a master without a
// kind. A VRF's members are interfaces in their own right.
func isMember(link netlink.Link, view *View) bool {
	index := link.Attrs().MasterIndex
	if index == 0 {
		return false
	}
	master, ok := view.Links[index]
	return !ok || master.Type() != "vrf"
}

// isHostSide reports whether the device is the host's end of a pair. It has no address here,
// and its other end is in another namespace. Its packets are another host's, which we
// forward. The container's end has an address. The kernel says which end of a netkit pair is
// the container's, so that end needs none.
func isHostSide(link netlink.Link, view *View) bool {
	if link.Attrs().NetNsID < 0 || view.addressed[link.Attrs().Index] {
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

// isStacked reports whether a device of ours lies below, which has the same packets first.
func (s *Selection) isStacked(link netlink.Link, view *View) bool {
	switch link.Type() {
	case "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap":
	default:
		return false
	}
	lower, ok := view.Links[link.Attrs().ParentIndex]
	if !ok || link.Attrs().NetNsID >= 0 || lower.Attrs().Index == link.Attrs().Index {
		return false
	}
	return linkHeaders(lower) == HeadersEthernet && s.selects(lower, view)
}

func isGlob(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

// matches expects a valid pattern, because the configuration was validated.
func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
