// SPDX-License-Identifier: Apache-2.0

package facttest

import (
	"net/netip"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

// Source has every optional member that can go together. Each count has a value of its own.
func Source() *source.Source {
	s := &source.Source{
		Time: Epoch + 9e9, Interval: time.Second, NetNS: OwnNetNS,
		Client: netip.MustParseAddr("2001:db8:1:2::7"), Prefix: netip.MustParsePrefix("2001:db8:1:2::/64"),
		Age: 90 * time.Second, Ports: &source.Ports{All: 500, Failed: 498, Stray: 3},
		Live: &source.Live{Open: 40, Silent: 30, Port: 443, PortSilent: 29, ReceiveRate: 12.5},
	}
	for c := range source.Counts {
		s.Counts[c] = 101 + uint64(c)
	}
	return s
}

// Rest sums up sources.
func Rest() *source.Source {
	s := Source()
	s.Rest, s.IPv4, s.Live = 12, true, nil
	s.Client, s.Prefix, s.Age, s.Ports = netip.Addr{}, netip.Prefix{}, 0, nil
	return s
}

// Service has every optional member.
func Service() *source.Service {
	n := func(n uint64) *uint64 { return &n }
	length, limit := uint32(4), uint32(128)
	return &source.Service{
		Time: Epoch + 9e9, Interval: time.Second, NetNS: OwnNetNS, Address: Flow().Server, Socket: 1,
		SYNs: n(20), Completed: n(19), Overflows: n(1), AcceptQueue: &length, AcceptQueueLimit: &limit,
		Accept: 40 * time.Microsecond, Open: n(12), OpenAnswered: n(11), Closed: n(8), ClosedAnswered: n(7),
	}
}

// Namespace has every counter.
func Namespace() *source.Namespace {
	n := &source.Namespace{Time: Epoch + 9e9, Interval: time.Second, NetNS: OwnNetNS}
	for c := range source.NamespaceCounters {
		count := 5 + uint64(c)
		n.Counters[c] = &count
	}
	return n
}
