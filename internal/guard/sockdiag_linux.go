// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/local"
)

// sockDestroy is SOCK_DESTROY of include/uapi/linux/sock_diag.h.
const sockDestroy = 21

// diagRequest is struct inet_diag_req_v2 of include/uapi/linux/inet_diag.h.
type diagRequest struct {
	family uint8
	states uint32
	id     netlink.SocketID
}

const diagRequestSize = 56

// Len is that of Serialize.
func (*diagRequest) Len() int { return diagRequestSize }

// Serialize writes ports and addresses in network byte order.
func (r *diagRequest) Serialize() []byte {
	b := append(make([]byte, 0, diagRequestSize), r.family, unix.IPPROTO_TCP, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, r.states)
	b = binary.BigEndian.AppendUint16(b, r.id.SourcePort)
	b = binary.BigEndian.AppendUint16(b, r.id.DestinationPort)
	b = append(append(b, address16(r.family, r.id.Source)...), address16(r.family, r.id.Destination)...)
	b = binary.NativeEndian.AppendUint32(b, r.id.Interface)
	b = binary.NativeEndian.AppendUint32(b, r.id.Cookie[0])
	return binary.NativeEndian.AppendUint32(b, r.id.Cookie[1])
}

// address16 fills the field of an address, of which IPv4 takes the first part.
func address16(family uint8, ip net.IP) []byte {
	field := make([]byte, 16)
	if family == unix.AF_INET {
		copy(field, ip.To4())
	} else {
		copy(field, ip.To16())
	}
	return field
}

// canDestroy asks the kernel to end a connection that does not exist.
func canDestroy() error {
	nobody := netlink.SocketID{Source: net.IPv4zero, Destination: net.IPv4zero, Cookie: [2]uint32{nl.TCPDIAG_NOCOOKIE, nl.TCPDIAG_NOCOOKIE}}
	err := destroy(unix.AF_INET, nobody)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("the kernel ends no connections by sock_diag: %w", err)
}

func destroy(family uint8, id netlink.SocketID) error {
	request := nl.NewNetlinkRequest(sockDestroy, unix.NLM_F_ACK)
	request.AddData(&diagRequest{family: family, states: 0xffffffff, id: id})
	_, err := request.Execute(unix.NETLINK_INET_DIAG, 0)
	return err
}

// States of sockets that are no open connections.
const (
	stateTimeWait = 6
	stateClose    = 7
	stateListen   = 10
)

// destroyIf ends the connections of the thread's network namespace with peers that are dropped.
// One that ends by itself meanwhile is no error.
func destroyIf(dropped func(netip.Addr) (bool, error)) (ended int, err error) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := netlink.SocketDiagTCP(family)
		if err != nil {
			return ended, fmt.Errorf("list the connections: %w", err)
		}
		for _, s := range sockets {
			peer, ok := netip.AddrFromSlice(s.ID.Destination)
			if !ok || s.State == stateTimeWait || s.State == stateClose || s.State == stateListen {
				continue
			}
			ends, err := dropped(peer.Unmap())
			if err != nil {
				return ended, err
			}
			if !ends {
				continue
			}
			switch err := destroy(family, s.ID); {
			case err == nil:
				ended++
			case !errors.Is(err, unix.ENOENT):
				return ended, fmt.Errorf("end a connection with %s: %w", peer, err)
			}
		}
	}
	return ended, nil
}

// drops tells whether packets of an address are dropped, as the program that ends connections
// does.
func (g *Guard) drops(source netip.Addr) (bool, error) {
	bits := source.BitLen()
	if source.Is6() {
		bits = g.options.IPv6Prefix
	}
	key, err := source.Prefix(bits)
	if err != nil {
		return false, err
	}
	if holds, err := g.Holds(); err != nil || !holds {
		return false, err
	}
	whole := local.PrefixKey(mapped(netip.PrefixFrom(source, source.BitLen())))
	now, err := g.clock.now()
	if err != nil {
		return false, err
	}
	// As block_of: a dry run, or what is over, hides no network that drops.
	dryRun, limit := uint32(guardBlockFlagBLOCK_DRY_RUN), uint32(guardBlockFlagBLOCK_LIMIT)
	var value guardBlock
	inForce := func(of *ebpf.Map, key any) (bool, error) {
		if err := of.Lookup(key, &value); errors.Is(err, ebpf.ErrKeyNotExist) {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("look %s up: %w", source, err)
		}
		return now < value.Until && value.Flags&dryRun == 0, nil
	}
	held, err := inForce(g.objects.Maps[guardMapBlocked], sourceKey(key))
	if err == nil && !held {
		held, err = inForce(g.objects.Maps[guardMapNetworks], whole)
	}
	if err != nil || !held || value.Flags&limit != 0 {
		return false, err
	}
	if value.Flags&uint32(guardBlockFlagBLOCK_HAS_ALLOWED) != 0 {
		var one uint8
		err := g.objects.Maps[guardMapAllowed].Lookup(whole, &one)
		return errors.Is(err, ebpf.ErrKeyNotExist), nil
	}
	return true, nil
}
