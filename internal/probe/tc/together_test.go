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
func (n *counter) attachTheirs(m Mode) {
	n.t.Helper()
	if m == TCX {
		n.attachTCX(nil)
	} else {
		n.attachClsact(1, unix.ETH_P_ALL) // where ours would go first, too
	}
}

func TestTogetherInOrder(t *testing.T) {
	positions(t, func(t *testing.T, m Mode, position func(*Program)) {
		s := newStreet(t)
		r := NewRegistry()
		guard, observe, inspect := s.counter(), s.counter(), s.counter()
		join := func(c *counter, name string, order int) *user {
			return c.join(r, c.attachable(m, named(name, order), position))
		}
		// The one in the middle is there, one comes before it, and one behind it.
		watcher := join(observe, "observe", 200)
		s.inOrder(observe)
		guardian := join(guard, "guard", 100)
		s.inOrder(guard, observe)
		inspector := join(inspect, "inspect", 300)
		s.inOrder(guard, observe, inspect)
		for i, u := range []*user{guardian, watcher, inspector} {
			u.noErrors()
			for _, state := range u.States() {
				assert.Equal(t, []string{"guard", "observe", "inspect"}[i], state.Program)
			}
		}
		assert.Same(t, guardian.manager, watcher.manager)

		// Any of them leaves, and comes back to its place.
		watcher.leave()
		s.inOrder(guard, inspect)
		watcher = join(observe, "observe", 200)
		s.inOrder(guard, observe, inspect)
		guardian.leave()
		s.inOrder(observe, inspect)
		guardian = join(guard, "guard", 100)
		s.inOrder(guard, observe, inspect)
		inspector.leave()
		guardian.leave()
		s.inOrder(observe)
		watcher.leave()
		n := s.counter()
		others, filters, _ := n.tcOf()
		assert.Equal(t, onTC{}, others)
		assert.Empty(t, filters)
		n.eventuallyWithoutTCX()
	})
}

// Programs of others were there before, or come between the two.
func TestTogetherBesideOthers(t *testing.T) {
	positions(t, func(t *testing.T, m Mode, position func(*Program)) {
		for _, guardFirst := range []bool{true, false} {
			t.Run(fmt.Sprintf("guard comes first: %t", guardFirst), func(t *testing.T) {
				s := newStreet(t)
				r := NewRegistry()
				before, between, after := s.counter(), s.counter(), s.counter()
				guard, observe := s.counter(), s.counter()
				asGuard := guard.attachable(m, named("guard", 1), position)
				asObserver := observe.attachable(m, named("observe", 2), position)
				before.attachTheirs(m)
				if guardFirst {
					guard.join(r, asGuard)
				} else {
					observe.join(r, asObserver)
				}
				if m == TCX { // on clsact, two filters of others would have one handle
					between.attachTheirs(m)
				}
				if guardFirst {
					observe.join(r, asObserver)
				} else {
					guard.join(r, asGuard)
				}
				if m == TCX {
					after.attachTheirs(m)
				}
				s.t = t
				s.inOrder(guard, observe)
				for _, d := range bothDirections() {
					s.see(d, map[seer]bool{guard: true, observe: true, before: true})
					before.decide(verdictPass)
					s.see(d, map[seer]bool{before: true, guard: asGuard.First, observe: asGuard.First})
					before.decide(verdictNext)
				}
			})
		}
	})
}

// Somebody removes one of the two, or both at a time: each comes back to its place.
func TestTogetherPutBackInOrder(t *testing.T) {
	positions(t, func(t *testing.T, m Mode, position func(*Program)) {
		s := newStreet(t)
		r := NewRegistry()
		guard, observe := s.counter(), s.counter()
		users := []*user{
			guard.join(r, guard.attachable(m, named("guard", 1), position)),
			observe.join(r, observe.attachable(m, named("observe", 2), position)),
		}
		remove := func(of ...*user) {
			for _, u := range of {
				was := u.hooksOn(Ingress)
				u.manager.changing.Lock() // both go before one is put back
				switch hook := was.(type) {
				case *tcxHook:
					theirs, _ := u.linkOf(Ingress)
					require.NoError(t, theirs.Detach())
					require.NoError(t, theirs.Close())
				case *filter:
					require.NoError(t, netlink.FilterDel(&hook.filter))
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
					there, err := hook.present()
					back = back && err == nil && there
				}
				return back
			}, "put back")
			s.inOrder(guard, observe)
		}
		remove(users[0])
		remove(users[1])
		remove(users...)
	})
}

// hooksOn is the hook on the street.
func (u *user) hooksOn(d Direction) hook {
	u.manager.mu.Lock()
	defer u.manager.mu.Unlock()
	if i := u.Attached.interfaces[u.device.Attrs().Index]; i != nil {
		return i.hooks[d]
	}
	return nil
}

// A program that the verifier refuses leaves the other at work, whoever comes first.
func TestTogetherOneRefused(t *testing.T) {
	modes(t, func(t *testing.T, m Mode) {
		for _, refusedFirst := range []bool{true, false} {
			s := newStreet(t)
			r := NewRegistry()
			observe, guard := s.counter(), s.counter()
			refused := guard.attachable(m, named("guard", 1))
			refused.Load = func(Direction, Headers) (*ebpf.Program, error) { return ebpf.NewProgram(refusedProgram()) }
			core, logs := observer.New(zapcore.WarnLevel)
			logging(core)(refused)
			var failing *user
			if refusedFirst {
				failing = guard.join(r, refused)
			}
			working := observe.join(r, observe.attachable(m, named("observe", 2)))
			if !refusedFirst {
				failing = guard.join(r, refused)
			}
			for _, state := range failing.States() {
				assert.False(t, state.Attached)
				assert.Equal(t, "guard", state.Program)
				var verifier *ebpf.VerifierError
				assert.ErrorAs(t, state.Err, &verifier)
			}
			assert.Equal(t, 1, logs.FilterField(zap.String("program", "guard")).Len(), "%v", logs.All())
			working.noErrors()
			s.inOrder(observe)
			failing.leave()
			working.noErrors()
			s.inOrder(observe)
			working.leave()
		}
	})
}

// A process with two programs is killed. The next one removes the filters of both, and the
// one that is alive keeps its own.
func TestTogetherDead(t *testing.T) {
	modes(t, func(t *testing.T, m Mode) {
		s := newStreet(t)
		n, observe := s.counter(), s.counter()
		crashed := s.process(m, "first", "guard:1", "observe:2")
		_, filters, tcx := n.tcOf()
		require.Equal(t, 4, len(filters)+tcx)
		working := observe.join(NewRegistry(), observe.attachable(m, named("observe", 2)))
		s.see(Ingress, map[seer]bool{crashed: true, working: true})
		crashed.kill()
		next := s.process(m, "first", "guard:1", "inspect:3")
		if m == Clsact {
			next.logs(`removed the filters of dead instances	{"filters": 4}`)
		}
		n.eventually(func(_ onTC, filters []filterName, tcx int) bool { return len(filters)+tcx == 4+2 })
		for _, d := range bothDirections() {
			s.see(d, map[seer]bool{next: true, working: true})
		}
		next.stop()
		working.leave()
		others, filters, _ := n.tcOf()
		assert.Equal(t, onTC{}, others, "the qdisc of the one that crashed is ours")
		assert.Empty(t, filters)
		n.eventuallyWithoutTCX()
	})
}

// Nobody waits for himself.
func TestTogetherWithoutWaiting(t *testing.T) {
	s := newStreet(t)
	r := NewRegistry()
	core, logs := observer.New(zapcore.InfoLevel)
	began := time.Now()
	var users []*user
	for order := range 4 {
		c := s.counter()
		users = append(users, c.join(r, c.attachable(Clsact, named("test", order), logging(core))))
	}
	for _, u := range users {
		u.leave()
	}
	assert.Less(t, time.Since(began), wire.Patience(LockWait))
	assert.Empty(t, logs.All())
}

// Components of one kind in one process: their programs have names of their own.
func TestTogetherOfOneKind(t *testing.T) {
	s := newStreet(t)
	r := NewRegistry()
	a, b := s.counter(), s.counter()
	first, second := a.join(r, a.attachable(Clsact)), b.join(r, b.attachable(Clsact))
	_, filters, _ := s.counter().tcOf()
	names := make(map[string]int)
	instances := make(map[uint32]bool)
	for _, name := range filters {
		names[name.program]++
		instances[name.instance] = true
	}
	assert.Equal(t, map[string]int{"test": 2, "test2": 2}, names)
	assert.Len(t, instances, 1)
	s.inOrder(a, b)
	first.leave()
	s.inOrder(b)
	second.noErrors()
}

// TCX runs before clsact, whatever the order: that is said, and an Auto program avoids it.
func TestTogetherOnTwoHooks(t *testing.T) {
	needMode(t, TCX)
	s := newStreet(t)
	r := NewRegistry()
	guard, observe := s.counter(), s.counter()
	core, logs := observer.New(zapcore.WarnLevel)
	guardian := guard.join(r, guard.attachable(Clsact, named("guard", 1), logging(core)))
	follower := observe.join(r, observe.attachable(Auto, named("observe", 2), logging(core)))
	assert.Equal(t, "clsact/ingress", follower.States()[Ingress].Hook)
	s.inOrder(guard, observe)
	assert.Empty(t, logs.All())
	follower.leave()
	observe.join(r, observe.attachable(TCX, named("observe", 2), logging(core)))
	s.inOrder(observe, guard)
	require.Equal(t, 1, logs.Len())
	assert.Contains(t, logs.All()[0].Message, "packet programs don't run in their order")
	guardian.noErrors()
}

// Both leave a namespace that is about to end, or one stays.
func TestTogetherLetGo(t *testing.T) {
	modes(t, func(t *testing.T, m Mode) {
		s := newStreet(t)
		r := NewRegistry()
		a, b := s.counter(), s.counter()
		first := a.join(r, a.attachable(m, named("guard", 1)))
		second := b.join(r, b.attachable(m, named("observe", 2)))
		first.Stop(time.Now().Add(LockWait))
		require.NoError(t, first.manager.LetGo())
		assert.NotEmpty(t, r.managers, "the other one stays")
		second.Stop(time.Now().Add(LockWait))
		require.NoError(t, second.manager.LetGo())
		assert.Empty(t, r.managers)
		first.leave()
		second.leave()
		_, filters, _ := s.counter().tcOf()
		assert.Empty(t, filters)
		s.counter().eventuallyWithoutTCX()
	})
}

func TestProgramsAreChecked(t *testing.T) {
	for _, name := range []string{"", "Observe", "a-b", "a b", filepath.Join("a", "b")} {
		p := Program{Name: name, Load: func(Direction, Headers) (*ebpf.Program, error) { return nil, nil }}
		assert.ErrorContains(t, p.check(), "the name is not made of", name)
	}
	assert.ErrorContains(t, (&Program{Name: "observe"}).check(), "Load is missing")
}
