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

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc/attach"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/street"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// linkOf finds the link of our program as another process finds it: by its id. It is nil
// while there is none.
func linkOf(n *street.Counter, d Direction) (link.Link, link.ID) {
	n.T.Helper()
	ours := street.ProgramID(n.T, n.Program[d])
	all, err := link.QueryPrograms(link.QueryOptions{Target: n.Device.Attrs().Index, Attach: street.TCXType(d)})
	require.NoError(n.T, err)
	for _, program := range all.Programs {
		if id, ok := program.LinkID(); ok && program.ID == ours {
			found, err := link.NewFromID(id)
			require.NoError(n.T, err)
			return found, id
		}
	}
	return nil, 0
}

// Whoever may load programs may detach any link, as "bpftool link detach" does, or give it
// another program. No message reports it.
func TestComesBackAfterItsLinkWasDetached(t *testing.T) {
	needMode(t, TCX)
	s := street.New(t)
	n, ours := s.Counter(), s.Counter()
	u, logs := joinObserved(ours, attachable(ours, TCX))
	for what, spoil := range map[string]func(link.Link, *ebpf.Program) error{
		"detached": func(l link.Link, _ *ebpf.Program) error { return l.Detach() },
		"replaced": link.Link.Update,
	} {
		for _, d := range street.BothDirections() {
			t.Run(what+" "+d.String(), func(t *testing.T) {
				s.On(t)
				ours.T = t
				theirs, was := linkOf(ours, d)
				require.NotNil(t, theirs)
				require.NoError(t, spoil(theirs, n.Program[d]))
				require.NoError(t, theirs.Close())
				wire.Within(t, wire.Soon, func() bool {
					found, id := linkOf(ours, d)
					if found != nil {
						require.NoError(t, found.Close())
					}
					return found != nil && id != was
				}, "another link")
				u.eventuallyAttachedTo(street.Device)
				for _, direction := range street.BothDirections() {
					s.See(direction, map[street.Seer]bool{u: true, n: false})
				}
				u.noErrors()
			})
		}
	}
	ours.T = t
	said := logs.All()
	require.Len(t, said, 1, "once a minute at most: %v", said)
	assert.Equal(t, "another process removed our programs from an interface; attaching them again", said[0].Message)
	assert.Equal(t, street.Device, said[0].ContextMap()["interface"])
}

// What could not be put back is tried again, though nothing changes: here because others
// take all the places, of which there are 64.
func TestTriesAgainWhatCouldNotBePutBack(t *testing.T) {
	needMode(t, TCX)
	s := street.New(t)
	ours := s.Counter()
	u, logs := joinObserved(ours, attachable(ours, TCX))
	u.manager.changing.Lock()
	theirs, _ := linkOf(ours, Egress)
	require.NotNil(t, theirs)
	require.NoError(t, theirs.Detach())
	require.NoError(t, theirs.Close())
	var others []link.Link
	for {
		// A program has one place at most.
		program, err := ebpf.NewProgram(street.EmptyProgram())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, program.Close()) })
		l, err := link.AttachTCX(link.TCXOptions{Interface: ours.Device.Attrs().Index, Program: program, Attach: ebpf.AttachTCXEgress})
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
	s := street.New(t)
	n, ours := s.Counter(), s.Counter()
	n.AttachIngress()
	u := join(ours, NewRegistry(), attachable(ours, Clsact))
	require.ErrorIs(t, u.States()[Egress].Err, attach.ErrNoEgress)
	s.See(Ingress, map[street.Seer]bool{u: true, n: true})
	assert.Empty(t, u.Interfaces(), "ingress only")

	for range 2 {
		n.TakeAll()
		n.Eventually(func(_ street.OnTC, filters []street.Filter, _ int) bool { return len(filters) == 2 })
		u.eventuallyAttachedTo(street.Device)
		for _, d := range street.BothDirections() {
			s.See(d, map[street.Seer]bool{u: true, n: false})
		}
		u.noErrors()
		n.AttachClsact(1, unix.ETH_P_ALL)
	}
	n.TakeAll()
	n.Eventually(func(_ street.OnTC, filters []street.Filter, _ int) bool { return len(filters) == 2 })
	u.leave()
	others, filters, _ := n.Of()
	assert.Equal(t, street.OnTC{}, others, "the new qdisc is ours")
	assert.Empty(t, filters)
}

// Interfaces of containers that live for a moment.
func TestInterfacesVanishWithoutAWarning(t *testing.T) {
	const pairs = 60
	modes(t, func(t *testing.T, m Mode) {
		wire.Enter(t)
		c := street.NewCounter(t, "lo", 0)
		u, logs := joinObserved(c, attachable(c, m, including("*")))
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
