// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package tc

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc/attach"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/street"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// Two components of one process, on TCX and on clsact, first or last among others.

// positions runs a test on both hooks and in both positions.
func positions(t *testing.T, test func(*testing.T, Mode, func(*Program))) {
	modes(t, func(t *testing.T, m Mode) {
		t.Run("first", func(t *testing.T) { test(t, m, func(*Program) {}) })
		t.Run("last", func(t *testing.T) { test(t, m, last) })
	})
}

// attachTheirs is somebody else's program.
func attachTheirs(n *street.Counter, m Mode) {
	n.T.Helper()
	if m == TCX {
		n.AttachTCX(nil)
	} else {
		n.AttachClsact(1, unix.ETH_P_ALL) // where ours would go first, too
	}
}

func TestTogetherInOrder(t *testing.T) {
	positions(t, func(t *testing.T, m Mode, position func(*Program)) {
		s := street.New(t)
		r := NewRegistry()
		guard, observe, inspect := s.Counter(), s.Counter(), s.Counter()
		join := func(c *street.Counter, name string, order int) *user {
			return join(c, r, attachable(c, m, named(name, order), position))
		}
		// The one in the middle is there, one comes before it, and one behind it.
		watcher := join(observe, "observe", 200)
		s.InOrder(observe)
		guardian := join(guard, "guard", 100)
		s.InOrder(guard, observe)
		inspector := join(inspect, "inspect", 300)
		s.InOrder(guard, observe, inspect)
		for i, u := range []*user{guardian, watcher, inspector} {
			u.noErrors()
			for _, state := range u.States() {
				assert.Equal(t, []string{"guard", "observe", "inspect"}[i], state.Program)
			}
		}
		assert.Same(t, guardian.manager, watcher.manager)

		// Any of them leaves, and comes back to its place.
		watcher.leave()
		s.InOrder(guard, inspect)
		watcher = join(observe, "observe", 200)
		s.InOrder(guard, observe, inspect)
		guardian.leave()
		s.InOrder(observe, inspect)
		guardian = join(guard, "guard", 100)
		s.InOrder(guard, observe, inspect)
		inspector.leave()
		guardian.leave()
		s.InOrder(observe)
		watcher.leave()
		n := s.Counter()
		others, filters, _ := n.Of()
		assert.Equal(t, street.OnTC{}, others)
		assert.Empty(t, filters)
		n.EventuallyWithoutTCX()
	})
}

// Programs of others were there before, or come between the two.
func TestTogetherBesideOthers(t *testing.T) {
	positions(t, func(t *testing.T, m Mode, position func(*Program)) {
		for _, guardFirst := range []bool{true, false} {
			t.Run(fmt.Sprintf("guard comes first: %t", guardFirst), func(t *testing.T) {
				s := street.New(t)
				r := NewRegistry()
				before, between, after := s.Counter(), s.Counter(), s.Counter()
				guard, observe := s.Counter(), s.Counter()
				asGuard := attachable(guard, m, named("guard", 1), position)
				asObserver := attachable(observe, m, named("observe", 2), position)
				attachTheirs(before, m)
				if guardFirst {
					join(guard, r, asGuard)
				} else {
					join(observe, r, asObserver)
				}
				if m == TCX { // on clsact, two filters of others would have one handle
					attachTheirs(between, m)
				}
				if guardFirst {
					join(observe, r, asObserver)
				} else {
					join(guard, r, asGuard)
				}
				if m == TCX {
					attachTheirs(after, m)
				}
				s.T = t
				s.InOrder(guard, observe)
				for _, d := range street.BothDirections() {
					s.See(d, map[street.Seer]bool{guard: true, observe: true, before: true})
					before.Decide(street.VerdictPass)
					s.See(d, map[street.Seer]bool{before: true, guard: asGuard.First, observe: asGuard.First})
					before.Decide(street.VerdictNext)
				}
			})
		}
	})
}

// Somebody removes one of the two, or both at a time: each comes back to its place.
func TestTogetherPutBackInOrder(t *testing.T) {
	positions(t, func(t *testing.T, m Mode, position func(*Program)) {
		s := street.New(t)
		r := NewRegistry()
		guard, observe := s.Counter(), s.Counter()
		users := []*user{
			join(guard, r, attachable(guard, m, named("guard", 1), position)),
			join(observe, r, attachable(observe, m, named("observe", 2), position)),
		}
		remove := func(of ...*user) {
			for _, u := range of {
				was := u.hooksOn(Ingress)
				u.manager.changing.Lock() // both go before one is put back
				if attach.OnTCX(was) {
					theirs, _ := linkOf(u.Counter, Ingress)
					require.NoError(t, theirs.Detach())
					require.NoError(t, theirs.Close())
				} else {
					_, filters, _ := u.Of()
					for _, filter := range filters {
						if filter.Program == u.Name && filter.Direction == Ingress {
							require.NoError(t, netlink.FilterDel(filter.BPF))
						}
					}
				}
				u.manager.changing.Unlock()
			}
			wire.Within(t, wire.Soon, func() bool {
				back := true
				for _, u := range of {
					hook := u.hooksOn(Ingress)
					if hook == nil {
						return false
					}
					there, err := hook.Present()
					back = back && err == nil && there
				}
				return back
			}, "put back")
			s.InOrder(guard, observe)
		}
		remove(users[0])
		remove(users[1])
		remove(users...)
	})
}

// hooksOn is the hook on the street.
func (u *user) hooksOn(d Direction) attach.Hook {
	u.manager.mu.Lock()
	defer u.manager.mu.Unlock()
	if i := u.Attached.interfaces[u.Device.Attrs().Index]; i != nil {
		return i.hooks[d]
	}
	return nil
}

// A program that the verifier refuses leaves the other at work, whoever comes first.
func TestTogetherOneRefused(t *testing.T) {
	modes(t, func(t *testing.T, m Mode) {
		for _, refusedFirst := range []bool{true, false} {
			s := street.New(t)
			r := NewRegistry()
			observe, guard := s.Counter(), s.Counter()
			refused := attachable(guard, m, named("guard", 1))
			refused.Load = func(Direction, Headers) (*ebpf.Program, error) { return ebpf.NewProgram(street.RefusedProgram()) }
			core, logs := observer.New(zapcore.WarnLevel)
			logging(core)(refused)
			var failing *user
			if refusedFirst {
				failing = join(guard, r, refused)
			}
			working := join(observe, r, attachable(observe, m, named("observe", 2)))
			if !refusedFirst {
				failing = join(guard, r, refused)
			}
			for _, state := range failing.States() {
				assert.False(t, state.Attached)
				assert.Equal(t, "guard", state.Program)
				var verifier *ebpf.VerifierError
				assert.ErrorAs(t, state.Err, &verifier)
			}
			assert.Equal(t, 1, logs.FilterField(zap.String("program", "guard")).Len(), "%v", logs.All())
			working.noErrors()
			s.InOrder(observe)
			failing.leave()
			working.noErrors()
			s.InOrder(observe)
			working.leave()
		}
	})
}

// A program for one direction only is refused, and what was attached of it is gone.
func TestTogetherOneWithoutEgress(t *testing.T) {
	modes(t, func(t *testing.T, m Mode) {
		s := street.New(t)
		r := NewRegistry()
		observe, guard := s.Counter(), s.Counter()
		half := attachable(guard, m, named("guard", 1))
		load := half.Load
		half.Load = func(d Direction, begin Headers) (*ebpf.Program, error) {
			if d == Egress {
				return nil, nil
			}
			return load(d, begin)
		}
		working := join(observe, r, attachable(observe, m, named("observe", 2)))
		for _, state := range join(guard, r, half).States() {
			assert.False(t, state.Attached)
			assert.ErrorIs(t, state.Err, errNoProgram)
		}
		working.noErrors()
		s.InOrder(observe)
	})
}

// A process with two programs is killed. The next one removes the filters of both, and the
// one that is alive keeps its own.
func TestTogetherDead(t *testing.T) {
	modes(t, func(t *testing.T, m Mode) {
		s := street.New(t)
		n, observe := s.Counter(), s.Counter()
		crashed := startOn(s, m, "first", "guard:1", "observe:2")
		_, filters, tcx := n.Of()
		require.Equal(t, 4, len(filters)+tcx)
		working := join(observe, NewRegistry(), attachable(observe, m, named("observe", 2)))
		s.See(Ingress, map[street.Seer]bool{crashed: true, working: true})
		crashed.kill()
		next := startOn(s, m, "first", "guard:1", "inspect:3")
		if m == Clsact {
			next.logs(`removed the filters of dead instances	{"filters": 4}`)
		}
		n.Eventually(func(_ street.OnTC, filters []street.Filter, tcx int) bool { return len(filters)+tcx == 4+2 })
		for _, d := range street.BothDirections() {
			s.See(d, map[street.Seer]bool{next: true, working: true})
		}
		next.stop()
		working.leave()
		others, filters, _ := n.Of()
		assert.Equal(t, street.OnTC{}, others, "the qdisc of the one that crashed is ours")
		assert.Empty(t, filters)
		n.EventuallyWithoutTCX()
	})
}

// Nobody waits for himself.
func TestTogetherWithoutWaiting(t *testing.T) {
	s := street.New(t)
	r := NewRegistry()
	core, logs := observer.New(zapcore.InfoLevel)
	began := time.Now()
	var users []*user
	for order := range 4 {
		c := s.Counter()
		users = append(users, join(c, r, attachable(c, Clsact, named("test", order), logging(core))))
	}
	for _, u := range users {
		u.leave()
	}
	assert.Less(t, time.Since(began), wire.Patience(LockWait))
	assert.Empty(t, logs.All())
}

// Components of one kind in one process: their programs have names of their own.
func TestTogetherOfOneKind(t *testing.T) {
	s := street.New(t)
	r := NewRegistry()
	a, b := s.Counter(), s.Counter()
	first, second := join(a, r, attachable(a, Clsact)), join(b, r, attachable(b, Clsact))
	_, filters, _ := s.Counter().Of()
	names := make(map[string]int)
	instances := make(map[string]bool)
	for _, name := range filters {
		names[name.Program]++
		instances[name.Instance] = true
	}
	assert.Equal(t, map[string]int{"test": 2, "test2": 2}, names)
	assert.Len(t, instances, 1)
	s.InOrder(a, b)
	first.leave()
	s.InOrder(b)
	second.noErrors()
}

// TCX runs before clsact, whatever the order: that is said, and an Auto program avoids it.
func TestTogetherOnTwoHooks(t *testing.T) {
	needMode(t, TCX)
	s := street.New(t)
	r := NewRegistry()
	guard, observe := s.Counter(), s.Counter()
	core, logs := observer.New(zapcore.WarnLevel)
	guardian := join(guard, r, attachable(guard, Clsact, named("guard", 1), logging(core)))
	follower := join(observe, r, attachable(observe, Auto, named("observe", 2), logging(core)))
	assert.Equal(t, "clsact/ingress", follower.States()[Ingress].Hook)
	s.InOrder(guard, observe)
	assert.Empty(t, logs.All())
	follower.leave()
	join(observe, r, attachable(observe, TCX, named("observe", 2), logging(core)))
	s.InOrder(observe, guard)
	require.Equal(t, 1, logs.Len())
	assert.Contains(t, logs.All()[0].Message, "packet programs don't run in their order")
	guardian.noErrors()
}

// Both leave a namespace that is about to end, or one stays.
func TestTogetherLetGo(t *testing.T) {
	modes(t, func(t *testing.T, m Mode) {
		s := street.New(t)
		r := NewRegistry()
		a, b := s.Counter(), s.Counter()
		first := join(a, r, attachable(a, m, named("guard", 1)))
		second := join(b, r, attachable(b, m, named("observe", 2)))
		first.Stop(time.Now().Add(LockWait))
		require.NoError(t, first.LetGo())
		assert.NotEmpty(t, r.managers, "the other one stays")
		second.Stop(time.Now().Add(LockWait))
		require.NoError(t, second.LetGo())
		assert.Empty(t, r.managers)
		first.leave()
		second.leave()
		_, filters, _ := s.Counter().Of()
		assert.Empty(t, filters)
		s.Counter().EventuallyWithoutTCX()
	})
}

// One that lets go and leaves does not count any more: another that stays is followed.
func TestTogetherOneStays(t *testing.T) {
	modes(t, func(t *testing.T, m Mode) {
		s := street.New(t)
		r := NewRegistry()
		stays := s.Counter()
		staying := join(stays, r, attachable(stays, m, named("observe", 2), including(street.Device, "late")))
		for range 2 {
			leaves := s.Counter()
			leaving := join(leaves, r, attachable(leaves, m, named("guard", 1)))
			leaving.Stop(time.Now().Add(LockWait))
			require.NoError(t, leaving.LetGo())
			leaving.leave()
		}
		assert.NotEmpty(t, r.managers)
		wire.AddVeth(t, "late")
		staying.eventuallyAttachedTo("late", street.Device)
		staying.noErrors()
	})
}

func TestProgramsAreChecked(t *testing.T) {
	for _, name := range []string{"", "Observe", "a-b", "a b", filepath.Join("a", "b")} {
		p := Program{Name: name, Load: func(Direction, Headers) (*ebpf.Program, error) { return nil, nil }}
		assert.ErrorContains(t, p.check(), "the name is not made of", name)
	}
	assert.ErrorContains(t, (&Program{Name: "observe"}).check(), "Load is missing")
}
