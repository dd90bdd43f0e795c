// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package tc

import (
	"slices"
	"testing"

	"github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// neighbourCase is a way in which others attach. Is ours first when theirs was there before,
// and when it came later? Nothing is said where it could not come.
type neighbourCase struct {
	attach        func(*counter)
	before, later map[string]bool
	directions    []Direction
}

func TestOrderOnTCX(t *testing.T) {
	needMode(t, TCX)
	testOrder(t, TCX, map[string]neighbourCase{
		"tcx": {
			attach: func(n *counter) { n.attachTCX(nil) },
			before: map[string]bool{"first": true, "last": false},
			later:  map[string]bool{"first": true, "last": true},
		},
		"tcx, at the head": {
			attach: func(n *counter) { n.attachTCX(link.Head()) },
			before: map[string]bool{"first": true, "last": false},
			later:  map[string]bool{"first": false, "last": false},
		},
		"clsact": {
			attach: func(n *counter) { n.attachClsact(1, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": true},
			later:  map[string]bool{"first": true, "last": true},
		},
		"an ingress qdisc": {
			attach:     (*counter).attachIngress,
			before:     map[string]bool{"first": true, "last": true},
			later:      map[string]bool{"first": true, "last": true},
			directions: []Direction{Ingress},
		},
	})
}

func TestOrderOnClsact(t *testing.T) {
	testOrder(t, Clsact, map[string]neighbourCase{
		"priority 1": {
			attach: func(n *counter) { n.attachClsact(1, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": false},
			later:  map[string]bool{"first": false, "last": false},
		},
		"priority 1 of another protocol": {
			attach: func(n *counter) { n.attachClsact(1, unix.ETH_P_IP) },
			before: map[string]bool{"first": false, "last": false},
		},
		"priority 2": {
			attach: func(n *counter) { n.attachClsact(2, unix.ETH_P_ALL) },
			later:  map[string]bool{"first": true, "last": false},
		},
		"a priority of the kernel's choice": {
			attach: func(n *counter) { n.attachClsact(0, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": false},
			later:  map[string]bool{"first": true, "last": false},
		},
		"a priority above our last": {
			attach: func(n *counter) { n.attachClsact(priorityLast+2, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": false},
		},
		"the highest priority": {
			attach: func(n *counter) { n.attachClsact(priorityMax, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": true},
		},
		"an ingress qdisc": {
			attach:     (*counter).attachIngress,
			before:     map[string]bool{"first": true, "last": false},
			directions: []Direction{Ingress},
		},
	})
}

func testOrder(t *testing.T, m Mode, tests map[string]neighbourCase) {
	s := newStreet(t)
	for name, test := range tests {
		if test.directions == nil {
			test.directions = bothDirections()
		}
		for position, first := range test.before {
			t.Run(name+"/"+position+"/before", func(t *testing.T) {
				n, b := s.on(t).counter(), s.counter()
				defer n.takeAll()
				test.attach(n)
				theirs, _, _ := n.tcOf()
				detach := b.attachAlone(m, position, test.directions)
				s.order(b, n, first, test.directions...)
				detach()
				others, filters, tcx := n.tcOf()
				assert.Equal(t, theirs, others)
				assert.Zero(t, len(filters)+tcx)
			})
		}
		for position, first := range test.later {
			t.Run(name+"/"+position+"/later", func(t *testing.T) {
				n, b := s.on(t).counter(), s.counter()
				defer n.takeAll()
				detach := b.attachAlone(m, position, bothDirections())
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

// attachAlone attaches by an attacher of its own, as another instance does.
func (n *counter) attachAlone(m Mode, position string, directions []Direction) (detach func()) {
	n.t.Helper()
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	require.NoError(n.t, err)
	a := newAttacher(handle, quietLock())
	var hooks []hook
	for d := range Directions {
		attach := a.attachTCX
		if m == Clsact {
			attach = a.attachFilter
		}
		hook, err := attach(&spot{index: n.device.Attrs().Index, direction: d, program: "test", first: position == "first"}, n.program[d])
		if m == Clsact && !slices.Contains(directions, d) {
			require.ErrorIs(n.t, err, errNoEgress)
			continue
		}
		require.NoError(n.t, err)
		hooks = append(hooks, hook)
	}
	a.lock.release()
	return func() {
		n.t.Helper()
		for _, hook := range hooks {
			assert.NoError(n.t, hook.detach())
		}
		a.close()
		handle.Close()
	}
}

// Theirs comes after our first process and is there before the second.
func TestNeighbour(t *testing.T) {
	for m, attach := range map[Mode]func(*counter){
		TCX:    func(n *counter) { n.attachTCX(nil) },
		Clsact: func(n *counter) { n.attachClsact(1, unix.ETH_P_ALL) },
	} {
		t.Run(string(m), func(t *testing.T) {
			needMode(t, m)
			s := newStreet(t)
			c := s.process(m, "first")
			n := s.counter()
			attach(n)
			s.order(c, n, m == TCX, bothDirections()...)
			s.crashAndStop(c, n, m)
		})
	}
}

// crashAndStop kills the process, starts another one and stops it. The neighbour
// stays as it is, and sees packets, throughout.
func (s *street) crashAndStop(c *process, n *counter, m Mode) {
	t := s.t
	t.Helper()
	theirs, filters, tcx := n.tcOf()
	assert.Equal(t, 2, len(filters)+tcx)
	unharmed := func() {
		t.Helper()
		others, _, _ := n.tcOf()
		assert.Equal(t, theirs, others)
		for _, d := range bothDirections() {
			s.see(d, map[seer]bool{n: true})
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
	c = s.process(m, "first")
	if m == Clsact {
		c.logs(`removed the filters of dead instances	{"filters": 2}`)
		_, filters, _ := n.tcOf()
		assert.Len(t, filters, 2)
	}
	s.order(c, n, true, bothDirections()...)
	unharmed()
	c.stop()
	_, filters, _ = n.tcOf()
	assert.Empty(t, filters)
	n.eventuallyWithoutTCX()
	unharmed()
}
