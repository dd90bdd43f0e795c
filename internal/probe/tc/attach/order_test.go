// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package attach_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc/attach"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/street"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// neighbourCase is a way in which others attach. Is ours first when theirs was there before,
// and when it came later? Nothing is said where it could not come.
type neighbourCase struct {
	attach        func(*street.Counter)
	before, later map[string]bool
	directions    []attach.Direction
}

func TestOrderOnTCX(t *testing.T) {
	street.NeedTCX(t)
	testOrder(t, "tcx", map[string]neighbourCase{
		"tcx": {
			attach: func(n *street.Counter) { n.AttachTCX(nil) },
			before: map[string]bool{"first": true, "last": false},
			later:  map[string]bool{"first": true, "last": true},
		},
		"tcx, at the head": {
			attach: func(n *street.Counter) { n.AttachTCX(link.Head()) },
			before: map[string]bool{"first": true, "last": false},
			later:  map[string]bool{"first": false, "last": false},
		},
		"clsact": {
			attach: func(n *street.Counter) { n.AttachClsact(1, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": true},
			later:  map[string]bool{"first": true, "last": true},
		},
		"an ingress qdisc": {
			attach:     (*street.Counter).AttachIngress,
			before:     map[string]bool{"first": true, "last": true},
			later:      map[string]bool{"first": true, "last": true},
			directions: []attach.Direction{attach.Ingress},
		},
	})
}

func TestOrderOnClsact(t *testing.T) {
	testOrder(t, "clsact", map[string]neighbourCase{
		"priority 1": {
			attach: func(n *street.Counter) { n.AttachClsact(1, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": false},
			later:  map[string]bool{"first": false, "last": false},
		},
		"priority 1 of another protocol": {
			attach: func(n *street.Counter) { n.AttachClsact(1, unix.ETH_P_IP) },
			before: map[string]bool{"first": false, "last": false},
		},
		"priority 2": {
			attach: func(n *street.Counter) { n.AttachClsact(2, unix.ETH_P_ALL) },
			later:  map[string]bool{"first": true, "last": false},
		},
		"a priority of the kernel's choice": {
			attach: func(n *street.Counter) { n.AttachClsact(0, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": false},
			later:  map[string]bool{"first": true, "last": false},
		},
		"a priority above our last": {
			attach: func(n *street.Counter) { n.AttachClsact(0xfff2, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": false},
		},
		"the highest priority": {
			attach: func(n *street.Counter) { n.AttachClsact(0xffff, unix.ETH_P_ALL) },
			before: map[string]bool{"first": true, "last": true},
		},
		"an ingress qdisc": {
			attach:     (*street.Counter).AttachIngress,
			before:     map[string]bool{"first": true, "last": false},
			directions: []attach.Direction{attach.Ingress},
		},
	})
}

func testOrder(t *testing.T, m string, tests map[string]neighbourCase) {
	s := street.New(t)
	for name, test := range tests {
		if test.directions == nil {
			test.directions = street.BothDirections()
		}
		for position, first := range test.before {
			t.Run(name+"/"+position+"/before", func(t *testing.T) {
				n, b := s.On(t).Counter(), s.Counter()
				defer n.TakeAll()
				test.attach(n)
				theirs, _, _ := n.Of()
				detach := attachAlone(b, m, position, test.directions)
				s.Order(b, n, first, test.directions...)
				detach()
				others, filters, tcx := n.Of()
				assert.Equal(t, theirs, others)
				assert.Zero(t, len(filters)+tcx)
			})
		}
		for position, first := range test.later {
			t.Run(name+"/"+position+"/later", func(t *testing.T) {
				n, b := s.On(t).Counter(), s.Counter()
				defer n.TakeAll()
				detach := attachAlone(b, m, position, street.BothDirections())
				test.attach(n)
				theirs, _, _ := n.Of()
				s.Order(b, n, first, test.directions...)
				detach()
				others, filters, tcx := n.Of()
				assert.Equal(t, theirs, others)
				assert.Zero(t, len(filters)+tcx)
			})
		}
	}
}

// attachAlone attaches by an attacher of its own, as another instance does.
func attachAlone(n *street.Counter, m string, position string, directions []attach.Direction) (detach func()) {
	n.T.Helper()
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	require.NoError(n.T, err)
	a := street.Attacher(handle)
	var hooks []attach.Hook
	for d := range attach.Directions {
		put := a.TCX
		if m == "clsact" {
			put = a.Filter
		}
		hook, err := put(&attach.Spot{Index: n.Device.Attrs().Index, Direction: d, Program: "test", First: position == "first"}, n.Program[d])
		if m == "clsact" && !slices.Contains(directions, d) {
			require.ErrorIs(n.T, err, attach.ErrNoEgress)
			continue
		}
		require.NoError(n.T, err)
		hooks = append(hooks, hook)
	}
	a.Release()
	return func() {
		n.T.Helper()
		for _, hook := range hooks {
			assert.NoError(n.T, hook.Detach())
		}
		a.Close()
		handle.Close()
	}
}

// asInstance attaches the programs as another instance of ours.
func asInstance(n *street.Counter) (detach func()) {
	n.T.Helper()
	return attachAlone(n, "clsact", "last", street.BothDirections())
}

// An interface takes no filter along to another network namespace, where the name of
// its instance would not be known.
func TestFiltersStayInTheirNamespace(t *testing.T) {
	s := street.New(t)
	n := s.Counter()
	detach := asInstance(n)
	_, filters, _ := n.Of()
	require.Len(t, filters, 2)
	require.NoError(t, netlink.LinkSetNsFd(n.Device, s.Other.File.FD()))
	s.Other.In(func() {
		moved, err := netlink.LinkByName(street.Device)
		require.NoError(t, err)
		n.Device = moved
		others, filters, _ := n.Of()
		assert.Empty(t, filters)
		assert.Empty(t, others.Qdiscs)
	})
	detach()
}

// On a thread in another network namespace everybody seems to be dead.
func TestDetachesFromElsewhere(t *testing.T) {
	s := street.New(t)
	n, other := s.Counter(), s.Counter()
	detach, detachOther := asInstance(n), asInstance(other)
	s.Other.In(detach)
	_, filters, _ := n.Of()
	assert.Len(t, filters, 2)
	for _, d := range street.BothDirections() {
		s.See(d, map[street.Seer]bool{n: false, other: true})
	}
	detachOther()
	others, _, _ := n.Of()
	assert.Equal(t, street.OnTC{}, others)
}

// Many come and go at once: no one removes a qdisc that another one has just found.
func TestInstancesComeAndGoTogether(t *testing.T) {
	wire.Enter(t)
	wire.NewPeer(t).Veth(t, street.Device)
	n := street.NewCounter(t, street.Device, 0)
	const instances, rounds = 4, 50
	namespace, err := netns.OpenThread()
	require.NoError(t, err)
	defer namespace.Close()
	errs := make(chan error, instances)
	for range instances {
		go func() {
			errs <- namespace.Run(func() error {
				handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
				if err != nil {
					return err
				}
				defer handle.Close()
				a := street.Attacher(handle)
				defer a.Close()
				for range rounds {
					hook, err := a.Filter(&attach.Spot{Index: n.Device.Attrs().Index, Program: "test"}, n.Program[attach.Ingress])
					if err != nil {
						return err
					}
					a.Release()
					if there, err := hook.Present(); err != nil || !there {
						return errors.Join(err, errors.New("the filter is gone"))
					}
					if err := hook.Detach(); err != nil {
						return err
					}
					a.Release()
				}
				return nil
			})
		}()
	}
	for range instances {
		assert.NoError(t, <-errs)
	}
	others, filters, _ := n.Of()
	assert.Equal(t, street.OnTC{}, others)
	assert.Empty(t, filters)
}
