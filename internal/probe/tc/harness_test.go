// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package tc

import (
	"slices"
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
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/street"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

func needMode(t testing.TB, m Mode) {
	t.Helper()
	if m == TCX {
		street.NeedTCX(t)
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

// user is a component with one program, which counts.
type user struct {
	*street.Counter
	*Attached
	manager *Manager
}

// attachable is our program, which attaches to the street.
func attachable(n *street.Counter, m Mode, change ...func(*Program)) *Program {
	p := &Program{
		Name: "test", Mode: m, First: true, Refuse: street.RefuseExcluded,
		Interfaces: Selection{Include: []string{n.Device.Attrs().Name}},
		Load:       func(d Direction, _ Headers) (*ebpf.Program, error) { return n.Program[d], nil },
		Logger:     zaptest.NewLogger(n.T),
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
func join(n *street.Counter, r *Registry, p *Program) *user {
	n.T.Helper()
	namespace, err := netns.OpenThread()
	require.NoError(n.T, err)
	m, err := r.Open(namespace)
	require.NoError(n.T, err)
	u := &user{Counter: n, manager: m}
	u.Attached, err = m.Add(p)
	require.NoError(n.T, err)
	n.T.Cleanup(u.leave)
	return u
}

// joinObserved is join with what is logged from Info on.
func joinObserved(n *street.Counter, p *Program) (*user, *observer.ObservedLogs) {
	n.T.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	logging(core)(p)
	return join(n, NewRegistry(), p), logs
}

// leave may be called twice.
func (u *user) leave() {
	if u.manager == nil {
		return
	}
	assert.NoError(u.T, u.Remove())
	assert.NoError(u.T, u.manager.Close())
	u.manager = nil
}

func (u *user) eventuallyAttachedTo(names ...string) {
	u.T.Helper()
	wire.Within(u.T, wire.Soon, func() bool { return slices.Equal(u.Interfaces(), names) }, "attached to %v", names)
}

func (u *user) noErrors() {
	u.T.Helper()
	for _, state := range u.States() {
		assert.True(u.T, state.Attached, state.Hook)
		assert.NoError(u.T, state.Err, state.Hook)
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
