// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package tc

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// linkOf finds the link of our program as another process finds it: by its id. It is nil
// while there is none.
func (n *counter) linkOf(d Direction) (link.Link, link.ID) {
	n.t.Helper()
	ours := programID(n.t, n.program[d])
	all, err := link.QueryPrograms(link.QueryOptions{Target: n.device.Attrs().Index, Attach: attachType(d)})
	require.NoError(n.t, err)
	for _, program := range all.Programs {
		if id, ok := program.LinkID(); ok && program.ID == ours {
			found, err := link.NewFromID(id)
			require.NoError(n.t, err)
			return found, id
		}
	}
	return nil, 0
}

// Whoever may load programs may detach any link, as "bpftool link detach" does, or give it
// another program. No message reports it.
func TestComesBackAfterItsLinkWasDetached(t *testing.T) {
	needMode(t, TCX)
	s := newStreet(t)
	n, ours := s.counter(), s.counter()
	u, logs := ours.joinObserved(ours.attachable(TCX))
	for what, spoil := range map[string]func(link.Link, *ebpf.Program) error{
		"detached": func(l link.Link, _ *ebpf.Program) error { return l.Detach() },
		"replaced": link.Link.Update,
	} {
		for _, d := range bothDirections() {
			t.Run(what+" "+d.String(), func(t *testing.T) {
				s.on(t)
				ours.t = t
				theirs, was := ours.linkOf(d)
				require.NotNil(t, theirs)
				require.NoError(t, spoil(theirs, n.program[d]))
				require.NoError(t, theirs.Close())
				wire.Within(t, wire.Soon, func() bool {
					found, id := ours.linkOf(d)
					if found != nil {
						require.NoError(t, found.Close())
					}
					return found != nil && id != was
				}, "another link")
				u.eventuallyAttachedTo(streetDevice)
				for _, direction := range bothDirections() {
					s.see(direction, map[seer]bool{u: true, n: false})
				}
				u.noErrors()
			})
		}
	}
	ours.t = t
	said := logs.All()
	require.Len(t, said, 1, "once a minute at most: %v", said)
	assert.Equal(t, "another process removed our programs from an interface; attaching them again", said[0].Message)
	assert.Equal(t, streetDevice, said[0].ContextMap()["interface"])
}

// What could not be put back is tried again, though nothing changes: here because others
// take all the places, of which there are 64.
func TestTriesAgainWhatCouldNotBePutBack(t *testing.T) {
	needMode(t, TCX)
	s := newStreet(t)
	ours := s.counter()
	u, logs := ours.joinObserved(ours.attachable(TCX))
	u.manager.changing.Lock()
	theirs, _ := ours.linkOf(Egress)
	require.NotNil(t, theirs)
	require.NoError(t, theirs.Detach())
	require.NoError(t, theirs.Close())
	var others []link.Link
	for {
		// A program has one place at most.
		program, err := ebpf.NewProgram(emptyProgram())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, program.Close()) })
		l, err := link.AttachTCX(link.TCXOptions{Interface: ours.device.Attrs().Index, Program: program, Attach: ebpf.AttachTCXEgress})
		if errors.Is(err, unix.ERANGE) {
			break
		}
		require.NoError(t, err)
		others = append(others, l)
	}
	require.NotEmpty(t, others)
	u.manager.changing.Unlock()

	egress := func() State { return u.States()[Egress] }
	wire.Within(t, wire.Soon, func() bool { return egress().Err != nil }, "the state says what is wrong")
	assert.False(t, egress().Attached)
	assert.Equal(t, 1, logs.FilterLevelExact(zapcore.WarnLevel).Len(), "%v", logs.All())
	for _, l := range others {
		require.NoError(t, l.Close())
	}
	wire.Within(t, retry+wire.Soon, func() bool { return egress().Attached }, "attached again")
	assert.NoError(t, egress().Err)
}

// Some agents remove the qdisc that they made with all that is in it by then.
func TestComesBackAfterTheirQdiscWent(t *testing.T) {
	s := newStreet(t)
	n, ours := s.counter(), s.counter()
	n.attachIngress()
	u := ours.join(NewRegistry(), ours.attachable(Clsact))
	require.ErrorIs(t, u.States()[Egress].Err, errNoEgress)
	s.see(Ingress, map[seer]bool{u: true, n: true})
	assert.Empty(t, u.Interfaces(), "ingress only")

	for range 2 {
		n.takeAll()
		n.eventually(func(_ onTC, filters []filterName, _ int) bool { return len(filters) == 2 })
		u.eventuallyAttachedTo(streetDevice)
		for _, d := range bothDirections() {
			s.see(d, map[seer]bool{u: true, n: false})
		}
		u.noErrors()
		n.attachClsact(1, unix.ETH_P_ALL)
	}
	n.takeAll()
	n.eventually(func(_ onTC, filters []filterName, _ int) bool { return len(filters) == 2 })
	u.leave()
	others, filters, _ := n.tcOf()
	assert.Equal(t, onTC{}, others, "the new qdisc is ours")
	assert.Empty(t, filters)
}

// Interfaces of containers that live for a moment.
func TestInterfacesVanishWithoutAWarning(t *testing.T) {
	const pairs = 60
	modes(t, func(t *testing.T, m Mode) {
		wire.Enter(t)
		c := newCounter(t, "lo", 0)
		u, logs := c.joinObserved(c.attachable(m, including("*")))
		for i := range pairs {
			name := fmt.Sprintf("flash%d", i)
			wire.AddVeth(t, name)
			deleteLink(t, name)
		}
		u.eventuallyAttachedTo("lo")

		// At the latest moment: between the look at the interfaces and the first step.
		u.manager.changing.Lock()
		wire.AddVeth(t, "late")
		late, err := netlink.LinkByName("late")
		require.NoError(t, err)
		deleteLink(t, "late")
		u.enter(late)
		assert.Empty(t, u.failures)
		u.manager.changing.Unlock()

		u.eventuallyAttachedTo("lo")
		u.noErrors()
		u.leave()
		assert.Empty(t, logs.All(), "what vanished is no failure")
		assert.Empty(t, u.Interfaces())
	})
}
