// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"testing"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// tcStreet is an interface with a listener, and frames that come in and go out there.
type tcStreet struct {
	t     *testing.T
	other *peer
	frame [tcDirections][]byte
}

const tcStreetDevice = "street"

func newTCStreet(t *testing.T) *tcStreet {
	t.Helper()
	enterNetNS(t)
	s := &tcStreet{t: t, other: newPeer(t)}
	s.other.veth(t, tcStreetDevice)
	_ = listen(t, "tcp4", "192.0.2.1:8080")
	s.frame[tcIngress] = ordinary(t)
	s.frame[tcEgress] = build(t, ethernet(layers.EthernetTypeIPv4),
		ipv4(func(ip *layers.IPv4) { ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP }),
		tcpSegment(func(tcp *layers.TCP) { tcp.SrcPort, tcp.DstPort = tcp.DstPort, tcp.SrcPort }), payload(100))
	return s
}

func (s *tcStreet) neighbour() *neighbour {
	return newNeighbour(s.t, tcStreetDevice, len(s.frame[tcIngress]))
}

func (s *tcStreet) collector(m TCMode, position string) *collector {
	s.t.Helper()
	return startCollector(s.t, m, position, tcStreetDevice)
}

func (s *tcStreet) send(d tcDirection) {
	s.t.Helper()
	if d == tcIngress {
		sendFrames(s.t, s.other, "peer-"+tcStreetDevice, nil, s.frame[d])
		return
	}
	sendFramesHere(s.t, tcStreetDevice, nil, s.frame[d])
}

// tcSeer counts frames.
type tcSeer interface{ seen(tcDirection) uint64 }

// see sends a frame and waits until those who should have seen it have, and no one else.
func (s *tcStreet) see(d tcDirection, sees map[tcSeer]bool) {
	s.t.Helper()
	before := make(map[tcSeer]uint64)
	for seer := range sees {
		before[seer] = seer.seen(d)
	}
	s.send(d)
	// A frame passes all programs before the next one is looked at.
	for seer, does := range sees {
		if does {
			require.Eventuallyf(s.t, func() bool { return seer.seen(d) == before[seer]+1 },
				5*time.Second, time.Millisecond, "%T %s", seer, d)
		}
	}
	for seer, does := range sees {
		if !does {
			assert.Equalf(s.t, before[seer], seer.seen(d), "%T %s", seer, d)
		}
	}
}

// order sends one frame that is left to whoever comes next, and one that the
// neighbour decides about: then only who is before it sees it.
func (s *tcStreet) order(c *collector, n *neighbour, first bool, directions ...tcDirection) {
	s.t.Helper()
	for _, d := range directions {
		s.see(d, map[tcSeer]bool{c: true, n: true})
		n.decide(verdictPass)
		s.see(d, map[tcSeer]bool{c: first, n: true})
		n.decide(verdictNext)
	}
}

// tcNeighbourCase is a neighbour by how it attaches. Is ours first when theirs was
// there before, and when it came later? Nothing is said where it could not come.
type tcNeighbourCase struct {
	attach        func(*neighbour)
	before, later map[string]bool
	directions    []tcDirection
}

func TestTCNeighbourOnTCX(t *testing.T) {
	require.True(t, tcxSupported())
	testTCNeighbour(t, TCX, map[string]tcNeighbourCase{
		"tcx": {
			attach: func(n *neighbour) { n.attachTCX(nil) },
			before: map[string]bool{"first": true, "last": false},
			later:  map[string]bool{"first": true, "last": true},
		},
		"tcx, at the head": {
			attach: func(n *neighbour) { n.attachTCX(link.Head()) },
			before: map[string]bool{"first": true, "last": false},
			later:  map[string]bool{"first": false, "last": false},
		},
		"clsact": {
			attach: func(n *neighbour) { n.attachClsact(1, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": true},
			later:  map[string]bool{"first": true, "last": true},
		},
		"an ingress qdisc": {
			attach:     (*neighbour).attachIngress,
			before:     map[string]bool{"first": true, "last": true},
			later:      map[string]bool{"first": true, "last": true},
			directions: []tcDirection{tcIngress},
		},
	})
}

func TestTCNeighbourOnClsact(t *testing.T) {
	testTCNeighbour(t, TCClsact, map[string]tcNeighbourCase{
		"priority 1": {
			attach: func(n *neighbour) { n.attachClsact(1, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": false},
			later:  map[string]bool{"first": false, "last": false},
		},
		"priority 1 of another protocol": {
			attach: func(n *neighbour) { n.attachClsact(1, unix.ETH_P_IP) },
			before: map[string]bool{"first": false, "last": false},
		},
		"priority 2": {
			attach: func(n *neighbour) { n.attachClsact(2, unix.ETH_P_ALL) },
			later:  map[string]bool{"first": true, "last": false},
		},
		"a priority of the kernel's choice": {
			attach: func(n *neighbour) { n.attachClsact(0, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": false},
			later:  map[string]bool{"first": true, "last": false},
		},
		"a priority above our last": {
			attach: func(n *neighbour) { n.attachClsact(tcPriorityLast+2, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": false},
		},
		"the highest priority": {
			attach: func(n *neighbour) { n.attachClsact(tcPriorityMax, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": true},
		},
		"an ingress qdisc": {
			attach:     (*neighbour).attachIngress,
			before:     map[string]bool{"first": true, "last": false},
			directions: []tcDirection{tcIngress},
		},
	})
}

func testTCNeighbour(t *testing.T, m TCMode, tests map[string]tcNeighbourCase) {
	for name, test := range tests {
		if test.directions == nil {
			test.directions = []tcDirection{tcIngress, tcEgress}
		}
		for position, first := range test.before {
			t.Run(name+"/"+position+"/before", func(t *testing.T) {
				s := newTCStreet(t)
				n := s.neighbour()
				test.attach(n)
				c := s.collector(m, position)
				s.order(c, n, first, test.directions...)
				s.crashAndStop(c, n, m, position, first, test.directions)
			})
		}
		for position, first := range test.later {
			t.Run(name+"/"+position+"/later", func(t *testing.T) {
				s := newTCStreet(t)
				c := s.collector(m, position)
				n := s.neighbour()
				test.attach(n)
				s.order(c, n, first, test.directions...)
				// The next one finds theirs there.
				if before, ok := test.before[position]; ok {
					first = before
				}
				s.crashAndStop(c, n, m, position, first, test.directions)
			})
		}
	}
}

// crashAndStop kills the collector, starts another one and stops it. The neighbour
// stays as it is, and sees packets, throughout.
func (s *tcStreet) crashAndStop(c *collector, n *neighbour, m TCMode, position string, first bool, directions []tcDirection) {
	t := s.t
	t.Helper()
	theirs, _, _ := n.tcOf()
	alone := func() {
		t.Helper()
		others, _, _ := n.tcOf()
		assert.Equal(t, theirs, others)
		for _, d := range directions {
			s.see(d, map[tcSeer]bool{n: true})
		}
	}
	c.kill()
	if m == TCX {
		n.eventuallyWithoutTCX()
	} else {
		_, filters, _ := n.tcOf()
		assert.Len(t, filters, len(directions), "the kernel keeps them")
	}
	alone()
	c = s.collector(m, position)
	if m == TCClsact {
		assert.Contains(t, c.log.String(), `removed the filters of instances that are dead`)
		_, filters, _ := n.tcOf()
		assert.Len(t, filters, len(directions))
	}
	s.order(c, n, first, directions...)
	alone()
	c.stop()
	_, filters, _ := n.tcOf()
	assert.Empty(t, filters)
	if m == TCX {
		n.eventuallyWithoutTCX()
	}
	alone()
}

// eventuallyWithoutTCX: the kernel takes a link off after its last descriptor is gone.
func (n *neighbour) eventuallyWithoutTCX() {
	n.t.Helper()
	require.Eventually(n.t, func() bool { _, _, tcx := n.tcOf(); return tcx == 0 }, 5*time.Second, time.Millisecond)
}
