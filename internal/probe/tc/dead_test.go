// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package tc

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/street"
)

// What is left after a crash goes with the next start, wherever that one looks.
func TestRemovesWhatDeadInstancesLeft(t *testing.T) {
	s := street.New(t)
	for _, name := range []string{"theirs", "elsewhere"} {
		require.NoError(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer-" + name}))
	}
	ours, theirs := s.Counter(), street.NewCounter(t, "theirs", 0)
	require.NoError(t, netlink.QdiscAdd(street.Clsact(theirs.Device.Attrs().Index)))
	expect := func(filters, qdiscs, filtersInTheirs int) {
		t.Helper()
		others, left, _ := ours.Of()
		assert.Len(t, left, filters)
		assert.Len(t, others.Qdiscs, qdiscs)
		others, left, _ = theirs.Of()
		assert.Len(t, left, filtersInTheirs)
		assert.Len(t, others.Qdiscs, 1)
	}
	crashed := startProcess(t, Clsact, "first", street.Device+",theirs")
	living := startProcess(t, Clsact, "first", street.Device)
	crashed.kill()
	expect(4, 1, 2)
	c := startProcess(t, Auto, "first", "elsewhere")
	c.logs(`removed the filters of dead instances	{"filters": 4}`)
	expect(2, 1, 0)
	c.stop()
	living.kill()
	expect(2, 1, 0)

	c = startProcess(t, Auto, "first", "elsewhere")
	c.logs(`removed the filters of dead instances	{"filters": 2}`)
	expect(0, 0, 0)
	c.stop()
}

func TestTwoProcesses(t *testing.T) {
	for _, m := range []Mode{TCX, Clsact} {
		t.Run(string(m), func(t *testing.T) {
			needMode(t, m)
			s := street.New(t)
			see := func(processes ...*process) {
				t.Helper()
				all := make(map[street.Seer]bool)
				for _, c := range processes {
					all[c] = true
				}
				for _, d := range street.BothDirections() {
					s.See(d, all)
				}
			}
			// The first one makes the qdisc, and leaves it to the others.
			first, second := startOn(s, m, "first"), startOn(s, m, "first")
			see(first, second)
			first.stop()
			see(second)
			third := startOn(s, m, "last")
			see(second, third)
			second.kill()
			see(third)
			third.stop()
			n := s.Counter()
			others, filters, _ := n.Of()
			assert.Equal(t, street.OnTC{}, others)
			assert.Empty(t, filters)
			n.EventuallyWithoutTCX()
		})
	}
}

// Theirs comes after our first process and is there before the second.
func TestNeighbour(t *testing.T) {
	for m, attach := range map[Mode]func(*street.Counter){
		TCX:    func(n *street.Counter) { n.AttachTCX(nil) },
		Clsact: func(n *street.Counter) { n.AttachClsact(1, unix.ETH_P_ALL) },
	} {
		t.Run(string(m), func(t *testing.T) {
			needMode(t, m)
			s := street.New(t)
			c := startOn(s, m, "first")
			n := s.Counter()
			attach(n)
			s.Order(c, n, m == TCX, street.BothDirections()...)
			crashAndStop(s, c, n, m)
		})
	}
}

// crashAndStop kills the process, starts another one and stops it. The neighbour
// stays as it is, and sees packets, throughout.
func crashAndStop(s *street.Street, c *process, n *street.Counter, m Mode) {
	t := s.T
	t.Helper()
	theirs, filters, tcx := n.Of()
	assert.Equal(t, 2, len(filters)+tcx)
	unharmed := func() {
		t.Helper()
		others, _, _ := n.Of()
		assert.Equal(t, theirs, others)
		for _, d := range street.BothDirections() {
			s.See(d, map[street.Seer]bool{n: true})
		}
	}
	c.kill()
	if m == TCX {
		n.EventuallyWithoutTCX()
	} else {
		_, filters, _ := n.Of()
		assert.Len(t, filters, 2, "the kernel keeps them")
	}
	unharmed()
	c = startOn(s, m, "first")
	if m == Clsact {
		c.logs(`removed the filters of dead instances	{"filters": 2}`)
		_, filters, _ := n.Of()
		assert.Len(t, filters, 2)
	}
	s.Order(c, n, true, street.BothDirections()...)
	unharmed()
	c.stop()
	_, filters, _ = n.Of()
	assert.Empty(t, filters)
	n.EventuallyWithoutTCX()
	unharmed()
}
