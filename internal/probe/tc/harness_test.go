// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package tc

import (
	"path"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// loopbackIndex is that of lo in every namespace.
const loopbackIndex = 1

func bothDirections() []Direction { return []Direction{Ingress, Egress} }

// tcxHere is why this kernel does not attach to TCX; empty when it does.
var tcxHere = sync.OnceValue(func() (lacks string) {
	err := testbed.InNewNetNS(func() error {
		program, err := ebpf.NewProgram(emptyProgram())
		if err != nil {
			return err
		}
		defer program.Close()
		if err := refuseExcluded(TCX.Hook(Ingress)); err != nil {
			return err
		}
		a := newAttacher(nil, quietLock())
		hook, err := a.attachTCX(&spot{index: loopbackIndex}, program)
		if err != nil {
			return err
		}
		return hook.detach()
	})
	if err != nil {
		return err.Error()
	}
	return ""
})

// here is this host, of which TCX is the only thing in question.
type here struct{}

func (here) Lacks(string) (string, error) { return tcxHere(), nil }

func needMode(t testing.TB, m Mode) {
	t.Helper()
	if m == TCX {
		testbed.Need(t, here{}, "packet by tcx/*")
	}
}

// modes runs a test on TCX and on clsact.
func modes(t *testing.T, test func(*testing.T, Mode)) {
	for _, m := range []Mode{TCX, Clsact} {
		t.Run(string(m), func(t *testing.T) {
			needMode(t, m)
			test(t, m)
		})
	}
}

// refuseExcluded refuses what the environment excludes.
func refuseExcluded(hook string) error {
	for _, pattern := range testbed.ExcludedHooks() {
		if ok, _ := path.Match(pattern, hook); ok {
			return errExcluded
		}
	}
	return nil
}

const errExcluded = NoInterfaceError("excluded by the environment") // any error will do

func quietLock() lock {
	return lock{warn: zap.NewNop().Warn, late: func() bool { return false }}
}

// street is an interface with frames that come in and go out there.
type street struct {
	t     *testing.T
	netns *netns.Namespace
	other *wire.Peer
	frame []byte
}

const (
	streetDevice = "street"
	// streetFrame is a length that no other frame has.
	streetFrame = 333
)

func newStreet(t *testing.T) *street {
	t.Helper()
	wire.Enter(t)
	namespace, err := netns.OpenThread()
	require.NoError(t, err)
	t.Cleanup(namespace.Close)
	s := &street{t: t, netns: namespace, other: wire.NewPeer(t), frame: make([]byte, streetFrame)}
	s.frame[12] = 0x08 // IPv4, of which nothing is right
	s.other.Veth(t, streetDevice)
	return s
}

// on takes a part of the test, which has a thread of its own, to the street.
func (s *street) on(t *testing.T) *street {
	t.Helper()
	runtime.LockOSThread() // and ends with the test
	require.NoError(t, s.netns.Enter())
	s.t = t
	return s
}

func (s *street) counter() *counter { return newCounter(s.t, streetDevice, len(s.frame)) }

func (s *street) send(d Direction) {
	s.t.Helper()
	if d == Ingress {
		s.other.Send(s.t, "peer-"+streetDevice, s.frame)
		return
	}
	wire.Send(s.t, streetDevice, nil, s.frame)
}

// seer counts frames.
type seer interface{ seen(Direction) uint64 }

// see sends a frame and waits until those who should have seen it have, and no one else.
func (s *street) see(d Direction, sees map[seer]bool) {
	s.t.Helper()
	before := make(map[seer]uint64)
	for seer := range sees {
		before[seer] = seer.seen(d)
	}
	s.send(d)
	// A frame passes all programs before the next one is looked at.
	for seer, does := range sees {
		if does {
			wire.Within(s.t, wire.Soon, func() bool { return seer.seen(d) == before[seer]+1 }, "%T %s", seer, d)
		}
	}
	for seer, does := range sees {
		if !does {
			assert.Equalf(s.t, before[seer], seer.seen(d), "%T %s", seer, d)
		}
	}
}

// order sends one frame that is left to whoever comes next, and one that a neighbour decides
// about: then only those before it see it.
func (s *street) order(ours seer, n *counter, first bool, directions ...Direction) {
	s.t.Helper()
	for _, d := range directions {
		s.see(d, map[seer]bool{ours: true, n: true})
		n.decide(verdictPass)
		s.see(d, map[seer]bool{ours: first, n: true})
		n.decide(verdictNext)
	}
}

// inOrder tells by frames that programs run in this order.
func (s *street) inOrder(programs ...*counter) {
	s.t.Helper()
	for _, d := range bothDirections() {
		for at, decides := range programs {
			decides.decide(verdictPass)
			sees := make(map[seer]bool)
			for i, p := range programs {
				sees[p] = i <= at
			}
			s.see(d, sees)
			decides.decide(verdictNext)
		}
	}
}

// user is a component with one program, which counts.
type user struct {
	*counter
	*Attached
	manager *Manager
}

// attachable is our program, which attaches to the street.
func (n *counter) attachable(m Mode, change ...func(*Program)) *Program {
	p := &Program{
		Name: "test", Mode: m, First: true, Refuse: refuseExcluded,
		Interfaces: Selection{Include: []string{n.device.Attrs().Name}},
		Load:       func(d Direction, _ Headers) (*ebpf.Program, error) { return n.program[d], nil },
		Logger:     zaptest.NewLogger(n.t),
	}
	for _, f := range change {
		f(p)
	}
	return p
}

// named sets what tells programs from each other.
func named(name string, order int) func(*Program) {
	return func(p *Program) { p.Name, p.Order = name, order }
}

func last(p *Program) { p.First = false }

func including(names ...string) func(*Program) {
	return func(p *Program) { p.Interfaces.Include = names }
}

func logging(core zapcore.Core) func(*Program) {
	return func(p *Program) { p.Logger = zap.New(core) }
}

// join adds a program to the namespace of the thread, until the test ends.
func (n *counter) join(r *Registry, p *Program) *user {
	n.t.Helper()
	namespace, err := netns.OpenThread()
	require.NoError(n.t, err)
	m, err := r.Open(namespace)
	require.NoError(n.t, err)
	u := &user{counter: n, manager: m}
	u.Attached, err = m.Add(p)
	require.NoError(n.t, err)
	n.t.Cleanup(u.leave)
	return u
}

// joinObserved is join with what is logged from Info on.
func (n *counter) joinObserved(p *Program) (*user, *observer.ObservedLogs) {
	n.t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	logging(core)(p)
	return n.join(NewRegistry(), p), logs
}

// leave may be called twice.
func (u *user) leave() {
	if u.manager == nil {
		return
	}
	assert.NoError(u.t, u.Remove())
	assert.NoError(u.t, u.manager.Close())
	u.manager = nil
}

func (u *user) eventuallyAttachedTo(names ...string) {
	u.t.Helper()
	wire.Within(u.t, wire.Soon, func() bool { return slices.Equal(u.Interfaces(), names) }, "attached to %v", names)
}

func (u *user) noErrors() {
	u.t.Helper()
	for _, state := range u.States() {
		assert.True(u.t, state.Attached, state.Hook)
		assert.NoError(u.t, state.Err, state.Hook)
	}
}

func addVeths(t *testing.T, pairs int) {
	t.Helper()
	wire.AddVeths(t, pairs)
}

func deleteLink(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, netlink.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: name}}))
}
