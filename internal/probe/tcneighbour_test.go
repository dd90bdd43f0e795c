// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
)

// tcStreet is an interface with a listener, and frames that come in and go out there.
type tcStreet struct {
	t     *testing.T
	netns *netns.Namespace
	other *peer
	frame [tcDirections][]byte
}

const tcStreetDevice = "street"

func newTCStreet(t *testing.T) *tcStreet {
	t.Helper()
	enterNetNS(t)
	netns, err := netns.OpenThread()
	require.NoError(t, err)
	t.Cleanup(netns.Close)
	s := &tcStreet{t: t, netns: netns, other: newPeer(t)}
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
func (s *tcStreet) order(ours tcSeer, n *neighbour, first bool, directions ...tcDirection) {
	s.t.Helper()
	for _, d := range directions {
		s.see(d, map[tcSeer]bool{ours: true, n: true})
		n.decide(verdictPass)
		s.see(d, map[tcSeer]bool{ours: first, n: true})
		n.decide(verdictNext)
	}
}

var tcBothDirections = []tcDirection{tcIngress, tcEgress}

// tcNeighbourCase is a neighbour by how it attaches. Is ours first when theirs was
// there before, and when it came later? Nothing is said where it could not come.
type tcNeighbourCase struct {
	attach        func(*neighbour)
	before, later map[string]bool
	directions    []tcDirection
}

func TestTCOrderOnTCX(t *testing.T) {
	needingMode(t, TCX)
	testTCOrder(t, TCX, map[string]tcNeighbourCase{
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

func TestTCOrderOnClsact(t *testing.T) {
	testTCOrder(t, TCClsact, map[string]tcNeighbourCase{
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

func testTCOrder(t *testing.T, m TCMode, tests map[string]tcNeighbourCase) {
	s := newTCStreet(t)
	b := s.bench()
	for name, test := range tests {
		if test.directions == nil {
			test.directions = tcBothDirections
		}
		for position, first := range test.before {
			t.Run(name+"/"+position+"/before", func(t *testing.T) {
				n := s.on(t).neighbour()
				b.t = t
				defer n.leave()
				test.attach(n)
				theirs, _, _ := n.tcOf()
				detach := b.attach(m, position, test.directions)
				s.order(b, n, first, test.directions...)
				detach()
				others, filters, tcx := n.tcOf()
				assert.Equal(t, theirs, others)
				assert.Zero(t, len(filters)+tcx)
			})
		}
		for position, first := range test.later {
			t.Run(name+"/"+position+"/later", func(t *testing.T) {
				n := s.on(t).neighbour()
				b.t = t
				defer n.leave()
				detach := b.attach(m, position, tcBothDirections)
				test.attach(n)
				theirs, _, _ := n.tcOf()
				s.order(b, n, first, test.directions...)
				detach()
				others, filters, tcx := n.tcOf()
				assert.Equal(t, theirs, others)
				assert.Zero(t, len(filters)+tcx)
			})
		}
	}
}

// on takes a part of the test, which has a thread of its own, to the street.
func (s *tcStreet) on(t *testing.T) *tcStreet {
	t.Helper()
	runtime.LockOSThread() // and ends with the test
	require.NoError(t, s.netns.Enter())
	s.t = t
	return s
}

// tcStreetBench has our programs, which are attached when asked.
type tcStreetBench struct {
	*tcBench
	index int
}

func (s *tcStreet) bench() *tcStreetBench {
	s.t.Helper()
	b := &tcStreetBench{tcBench: newTCBench(s.t, tcConfig(func(c *Config) { c.PacketSampleRate = 0 }))}
	device, err := netlink.LinkByName(tcStreetDevice)
	require.NoError(s.t, err)
	b.index = device.Attrs().Index
	slot, err := b.counts.assign(b.index)
	require.NoError(s.t, err)
	b.interfaces[b.index] = &tcInterface{index: b.index, name: tcStreetDevice, slot: slot}
	return b
}

func (b *tcStreetBench) seen(d tcDirection) uint64 {
	return b.of(tcStreetDevice, d == tcEgress).Packets[packet.Data]
}

func (b *tcStreetBench) attach(m TCMode, position string, directions []tcDirection) (detach func()) {
	b.t.Helper()
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	require.NoError(b.t, err)
	a := newTestAttacher(&Config{Packets: Packets{TCMode: m, TCFirst: position == "first"}}, handle)
	var hooks []tcHook
	for d := range tcDirections {
		prog, err := b.program(d, headersEthernet)
		require.NoError(b.t, err)
		hook, err := a.attach(b.index, d, prog)
		if m == TCClsact && !slices.Contains(directions, d) {
			require.ErrorIs(b.t, err, errNoEgress)
			continue
		}
		require.NoError(b.t, err)
		hooks = append(hooks, hook)
	}
	a.lock.release()
	return func() {
		b.t.Helper()
		for _, hook := range hooks {
			require.NoError(b.t, hook.detach())
		}
		a.close()
		handle.Close()
	}
}

// Theirs comes after the first collector and is there before the second.
func TestTCNeighbour(t *testing.T) {
	for m, attach := range map[TCMode]func(*neighbour){
		TCX:      func(n *neighbour) { n.attachTCX(nil) },
		TCClsact: func(n *neighbour) { n.attachClsact(1, unix.ETH_P_ALL) },
	} {
		t.Run(string(m), func(t *testing.T) {
			needingMode(t, m)
			s := newTCStreet(t)
			c := s.collector(m, "first")
			n := s.neighbour()
			attach(n)
			s.order(c, n, m == TCX, tcBothDirections...)
			s.crashAndStop(c, n, m)
		})
	}
}

// crashAndStop kills the collector, starts another one and stops it. The neighbour
// stays as it is, and sees packets, throughout.
func (s *tcStreet) crashAndStop(c *collector, n *neighbour, m TCMode) {
	t := s.t
	t.Helper()
	theirs, filters, tcx := n.tcOf()
	assert.Equal(t, 2, len(filters)+tcx)
	unharmed := func() {
		t.Helper()
		others, _, _ := n.tcOf()
		assert.Equal(t, theirs, others)
		for _, d := range tcBothDirections {
			s.see(d, map[tcSeer]bool{n: true})
		}
	}
	c.kill()
	if m == TCX {
		n.eventuallyWithoutTCX()
	} else {
		_, filters, _ := n.tcOf()
		assert.Len(t, filters, 2, "the kernel keeps them")
	}
	unharmed()
	c = s.collector(m, "first")
	if m == TCClsact {
		assert.Contains(t, c.log.String(), `removed the filters of instances that are dead	{"filters": 2}`)
		_, filters, _ := n.tcOf()
		assert.Len(t, filters, 2)
	}
	s.order(c, n, true, tcBothDirections...)
	unharmed()
	c.stop()
	_, filters, _ = n.tcOf()
	assert.Empty(t, filters)
	n.eventuallyWithoutTCX()
	unharmed()
}

// eventuallyWithoutTCX: the kernel takes a link off after its last descriptor is gone.
func (n *neighbour) eventuallyWithoutTCX() {
	n.t.Helper()
	n.eventually(func(_ onTC, _ []tcFilterName, tcx int) bool { return tcx == 0 })
}

// eventually stays on the thread, which is in the network namespace.
func (n *neighbour) eventually(condition func(others onTC, filters []tcFilterName, tcx int) bool) {
	n.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !condition(n.tcOf()); time.Sleep(time.Millisecond) {
		others, filters, tcx := n.tcOf()
		require.Truef(n.t, time.Now().Before(deadline), "others %+v, our filters %v, our TCX programs %d", others, filters, tcx)
	}
}
