// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package tc

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc/dump"
)

// localRoutes lists what the kernel routes as local, in all tables of the thread's network
// namespace, including those of VRFs and those that only a rule selects.
func localRoutes() (map[netip.Prefix]bool, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	defer socket.Close()
	if err := socket.SetReceiveTimeout(&nl.SocketTimeoutTv); err != nil {
		return nil, fmt.Errorf("set the timeout of a netlink socket: %w", err)
	}
	// With this the kernel filters by type. A router has a million others.
	if err := unix.SetsockoptInt(socket.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1); err != nil {
		return nil, fmt.Errorf("enable strict checks of netlink: %w", err)
	}
	sockets := map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}
	local := make(map[netip.Prefix]bool)
	for _, family := range []uint8{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		messages, err := dump.Watched(func() ([][]byte, error) { return dumpLocalRoutes(sockets, family) })
		if err != nil {
			return nil, fmt.Errorf("list the local routes: %w", err)
		}
		for _, message := range messages {
			if prefix, ok := localRoute(message); ok {
				local[prefix] = true
			}
		}
	}
	return local, nil
}

func dumpLocalRoutes(sockets map[int]*nl.SocketHandle, family uint8) ([][]byte, error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	request.Sockets = sockets
	request.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: family, Type: unix.RTN_LOCAL}})
	return request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
}

// localRoute is the prefix of a route, IPv4 mapped; false if it is not local or is dead.
func localRoute(message []byte) (netip.Prefix, bool) {
	if len(message) < unix.SizeofRtMsg {
		return netip.Prefix{}, false
	}
	route := nl.DeserializeRtMsg(message)
	if route.Type != unix.RTN_LOCAL || route.Flags&unix.RTNH_F_DEAD != 0 {
		return netip.Prefix{}, false
	}
	address := netip.IPv6Unspecified() // the kernel leaves out what is all zero
	bits := int(route.Dst_len)
	if route.Family == netlink.FAMILY_V4 {
		address, bits = mappedAddr(netip.IPv4Unspecified()), mappedBits+bits
	}
	attributes, err := nl.ParseRouteAttr(message[unix.SizeofRtMsg:])
	if err != nil {
		return netip.Prefix{}, false
	}
	for _, attribute := range attributes {
		if attribute.Attr.Type == unix.RTA_DST {
			destination, ok := netip.AddrFromSlice(attribute.Value)
			if !ok {
				return netip.Prefix{}, false
			}
			address = mappedAddr(destination)
		}
	}
	return netip.PrefixFrom(address, bits), true
}

// mappedBits is the difference in length of a v4-mapped prefix and its IPv4 prefix.
const mappedBits = 96

func mappedAddr(address netip.Addr) netip.Addr { return netip.AddrFrom16(address.As16()) }

// Offsets in a route message that show whether the route is local.
const (
	routeMessageType  = 4 // in struct nlmsghdr
	routeMessageFlags = 6
	routeTable        = unix.SizeofNlMsghdr + 4 // in struct rtmsg, behind it
	routeType         = unix.SizeofNlMsghdr + 7
)

// onlyLocalRoutes filters out messages of other routes, because a router gets thousands of
// them in a second. A message about a replaced route has the type of the new route. So
// messages about the kernel's local table pass, too. A local route of another table that a
// route of another type replaces stays local here until the next change.
func onlyLocalRoutes(fd int) error {
	const drop, accept = 0, 0xffffffff
	load := func(size uint16, at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_ABS | size, K: at}
	}
	jump := func(condition uint16, k uint32, then, otherwise uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | condition, Jt: then, Jf: otherwise, K: k}
	}
	verdict := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	filter := []unix.SockFilter{
		load(unix.BPF_H, routeMessageType),
		jump(unix.BPF_JEQ, asLoaded(unix.RTM_NEWROUTE), 1, 0),
		jump(unix.BPF_JEQ, asLoaded(unix.RTM_DELROUTE), 0, 6),
		load(unix.BPF_B, routeType),
		jump(unix.BPF_JEQ, unix.RTN_LOCAL, 4, 0),
		load(unix.BPF_H, routeMessageFlags),
		jump(unix.BPF_JSET, asLoaded(unix.NLM_F_REPLACE), 0, 3),
		load(unix.BPF_B, routeTable),
		jump(unix.BPF_JEQ, unix.RT_TABLE_LOCAL, 0, 1),
		verdict(accept),
		verdict(drop),
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return fmt.Errorf("filter route messages: %w", err)
	}
	return nil
}

// asLoaded converts a number to network byte order, in which a socket filter loads it.
func asLoaded(number uint16) uint32 {
	var raw [2]byte
	binary.NativeEndian.PutUint16(raw[:], number)
	return uint32(binary.BigEndian.Uint16(raw[:]))
}
