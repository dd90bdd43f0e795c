// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package tc

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc/attach"
)

// Attached is a program in a manager, from Add to Remove.
type Attached struct {
	Program
	manager *Manager
	// stopBy is set to remove the program. It is no longer attached anywhere, and waits
	// for other instances end at this time.
	stopBy atomic.Pointer[time.Time]

	// The rest is guarded as the manager says.

	// mode is decided with the first interface.
	mode       Mode
	interfaces map[int]*place
	// failures are interfaces where attaching failed, by index.
	failures map[int]error
	// lettingGo is set by LetGo.
	lettingGo bool
	// misplaced is set after the warning that the order does not hold.
	misplaced bool
}

// place is an interface that a program is attached to.
type place struct {
	Interface
	hooks [Directions]attach.Hook
}

// detach begins with the last attached hook, so that the first one finds its qdisc empty.
func (i *place) detach() error {
	var err error
	for d := Directions - 1; d >= 0; d-- {
		if i.hooks[d] == nil {
			continue
		}
		if detachErr := i.hooks[d].Detach(); detachErr != nil {
			err = errors.Join(err, fmt.Errorf("detach tc %s from %s: %w", d, i.Name, detachErr))
		}
	}
	return err
}

// present is false if a hook that we attached is missing.
func (i *place) present() bool {
	for _, hook := range i.hooks {
		if hook == nil {
			continue
		}
		if present, err := hook.Present(); err == nil && !present {
			return false
		}
	}
	return true
}

// Interfaces lists the names of those that the program is attached to in both directions.
func (a *Attached) Interfaces() []string {
	a.manager.mu.Lock()
	defer a.manager.mu.Unlock()
	var names []string
	for _, i := range a.interfaces {
		if i.hooks[Ingress] != nil && i.hooks[Egress] != nil {
			names = append(names, i.Name)
		}
	}
	slices.Sort(names)
	return names
}

// maxErrors bounds the interfaces in a state's error.
const maxErrors = 3

// States has one state per direction, over all interfaces.
func (a *Attached) States() []State {
	a.manager.mu.Lock()
	defer a.manager.mu.Unlock()
	states := make([]State, 0, Directions)
	for d := range Directions {
		state := State{Program: a.Name, Hook: a.mode.Hook(d), Err: a.attachErrors()}
		for _, i := range a.interfaces {
			state.Attached = state.Attached || i.hooks[d] != nil
		}
		states = append(states, state)
	}
	return states
}

func (a *Attached) attachErrors() error {
	indexes := slices.Sorted(maps.Keys(a.failures))
	var err error
	for _, index := range indexes[:min(len(indexes), maxErrors)] {
		err = errors.Join(err, a.failures[index])
	}
	if more := len(indexes) - maxErrors; more > 0 {
		err = errors.Join(err, fmt.Errorf("and %d more interfaces", more))
	}
	return err
}

// Stop comes before Remove if several programs share one time limit. It returns at once.
func (a *Attached) Stop(limit time.Time) { a.stopBy.CompareAndSwap(nil, &limit) }

// LetGo prepares Remove in a namespace that is about to end. After the last program's call
// the manager releases the namespace, if all of them are TCX links, which need no netlink.
// Removing a link waits for the kernel's grace periods, and would keep the namespace alive.
// Call Stop before.
func (a *Attached) LetGo() error {
	m := a.manager
	if !m.registry.letGo(a) {
		return nil
	}
	err := m.stopFollowing()
	m.changing.Lock()
	defer m.changing.Unlock()
	if !slices.ContainsFunc(m.programs, func(other *Attached) bool { return other.mode != TCX }) {
		m.release()
	}
	return err
}

// letGo forgets the manager if nobody stays in the namespace.
func (r *Registry) letGo(a *Attached) (all bool) {
	m := a.manager
	r.mu.Lock()
	defer r.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	a.lettingGo = true
	stays := func(other *Attached) bool { return !other.lettingGo }
	if len(m.programs) != m.users || slices.ContainsFunc(m.programs, stays) {
		return false
	}
	r.forget(m)
	return true
}

// Remove detaches the program from all interfaces. The manager's other programs stay
// attached.
func (a *Attached) Remove() error {
	a.Stop(time.Now().Add(LockWait))
	m := a.manager
	m.changing.Lock()
	defer m.changing.Unlock()
	defer m.delist(a)
	defer m.attacher.Release()
	return a.detachFrom(slices.Collect(maps.Values(a.interfaces)))
}

// leave detaches the program from interfaces that are gone or no longer selected, and from
// those where another process removed it.
func (a *Attached) leave(view *View) {
	var left []*place
	for index, i := range a.interfaces {
		if link, ok := view.Links[index]; !ok || !a.keeps(i, link, view) || !a.inPlace(i) {
			left = append(left, i)
		}
	}
	if err := a.drop(left); err != nil {
		a.Logger.Warn("failed to detach from interfaces", zap.Error(err))
	}
	a.forgetFailures(view)
}

// keeps follows a change of name, after which the interface may no longer be selected.
func (a *Attached) keeps(i *place, link netlink.Link, view *View) bool {
	if name := link.Attrs().Name; name != i.Name {
		a.manager.mu.Lock()
		i.Name = name
		a.manager.mu.Unlock()
		if a.Follower != nil {
			a.Follower.Rename(i.Interface)
		}
	}
	return a.Program.Interfaces.selects(link, view)
}

// inPlace is false if another process removed a program of ours, for instance together with
// its own qdisc.
func (a *Attached) inPlace(i *place) bool {
	if i.present() {
		return true
	}
	if !a.manager.vanished(i.Index) {
		a.manager.removals.report(a.Logger, a.Name, i.Name)
	}
	return false
}

func (a *Attached) drop(left []*place) error {
	err := a.detachFrom(left)
	for _, i := range left {
		a.manager.mu.Lock()
		delete(a.interfaces, i.Index)
		a.manager.mu.Unlock()
		if a.Follower != nil {
			a.Follower.Leave(i.Interface)
		}
	}
	return err
}

// detachFrom keeps the places of the interfaces, without hooks.
func (a *Attached) detachFrom(interfaces []*place) error {
	var all error
	for _, i := range interfaces {
		all = errors.Join(all, i.detach())
		a.manager.mu.Lock()
		i.hooks = [Directions]attach.Hook{}
		a.manager.mu.Unlock()
	}
	return all
}

func (a *Attached) forgetFailures(view *View) {
	a.manager.mu.Lock()
	defer a.manager.mu.Unlock()
	for index := range a.failures {
		if link, ok := view.Links[index]; !ok || !a.Program.Interfaces.selects(link, view) {
			delete(a.failures, index)
		}
	}
}

// attachMissing attaches to the interfaces that are selected and new, oldest first.
//
// It attaches one after the other. On TCX the kernel waits for an RCU grace period per
// program while it holds its rtnl lock (tcx_entry_sync). Attaching in parallel would take as
// long, and would block others from that lock for longer.
func (a *Attached) attachMissing(view *View) {
	for _, index := range slices.Sorted(maps.Keys(view.Links)) {
		link := view.Links[index]
		if a.interfaces[index] != nil || !a.Program.Interfaces.selects(link, view) {
			continue
		}
		if a.stopBy.Load() != nil || (a.manager.registry.trial && len(a.interfaces) > 0) {
			return
		}
		a.enter(link)
	}
}

func (a *Attached) enter(link netlink.Link) {
	i := &place{Interface: Interface{Index: link.Attrs().Index, Name: link.Attrs().Name}}
	begin := linkHeaders(link)
	if begin == headersUnknown {
		a.note(i, false, fmt.Errorf("attach tc to %s: %w", i.Name, errLinkType))
		return
	}
	if a.Follower != nil {
		if err := a.Follower.Enter(i.Interface); err != nil {
			a.note(i, false, fmt.Errorf("attach tc to %s: %w", i.Name, err))
			return
		}
	}
	err := a.attach(i, begin)
	attached := err == nil || errors.Is(err, attach.ErrNoEgress)
	if !attached {
		err = errors.Join(err, i.detach())
		if a.Follower != nil {
			a.Follower.Leave(i.Interface)
		}
	}
	a.note(i, attached, err)
}

// errNoProgram means that Load broke its promise.
var errNoProgram = errors.New("the component has no program for this direction")

func (a *Attached) attach(i *place, begin Headers) error {
	for d := range Directions {
		program, err := a.Load(d, begin)
		if err == nil && program == nil {
			err = errNoProgram
		}
		if err != nil {
			return fmt.Errorf("attach tc %s to %s: %w", d, i.Name, err)
		}
		hook, err := a.attachHook(i.Index, d, program)
		if err != nil {
			return fmt.Errorf("attach tc %s to %s: %w", d, i.Name, capability.Explain(err, capability.NetAdmin))
		}
		i.hooks[d] = hook
	}
	return nil
}

// attachHook decides where an Auto program attaches: on clsact if the kernel has no TCX or
// the configuration excludes it.
func (a *Attached) attachHook(index int, d Direction, program *ebpf.Program) (attach.Hook, error) {
	m := a.manager
	at := attach.Spot{Index: index, Direction: d, Program: a.Name, First: a.First}
	at.Before, at.After = m.around(a, index, d)
	if m.modeOf(a) != Clsact {
		err := a.refuseTCX(d)
		fallBack := err != nil
		var hook attach.Hook
		if err == nil {
			hook, err = m.attacher.TCX(&at, program)
			fallBack = errors.Is(err, ebpf.ErrNotSupported)
		}
		if err == nil {
			a.decide(TCX, &at)
			return hook, nil
		}
		if a.mode != Auto || !fallBack {
			return nil, err
		}
	}
	a.decide(Clsact, &at)
	if err := a.refuse(Clsact.Hook(d)); err != nil {
		return nil, err
	}
	return m.attacher.Filter(&at, program)
}

// refuseTCX returns an error if the configuration excludes TCX. Auto asks for all directions
// before it decides, because a mode holds for all of them.
func (a *Attached) refuseTCX(d Direction) error {
	if a.mode != Auto {
		return a.refuse(TCX.Hook(d))
	}
	var all error
	for d := range Directions {
		all = errors.Join(all, a.refuse(TCX.Hook(d)))
	}
	return all
}

// decide settles the mode, and warns where the order can't hold: TCX runs before clsact.
func (a *Attached) decide(mode Mode, at *attach.Spot) {
	a.manager.mu.Lock()
	a.mode = mode
	a.manager.mu.Unlock()
	misplaced := false
	if mode == TCX {
		misplaced = slices.ContainsFunc(at.Before, func(h attach.Hook) bool { return !attach.OnTCX(h) })
	} else {
		misplaced = slices.ContainsFunc(at.After, attach.OnTCX)
	}
	if misplaced && !a.misplaced {
		a.misplaced = true
		a.Logger.Warn("packet programs don't run in their order, because TCX comes before clsact: use one tc::mode for all",
			zap.String("program", a.Name), zap.String("tc::mode", string(mode)))
	}
}

// note records an interface as attached, in one direction at least, or as a failure. A
// failure is reported once, and the next change tries again. An interface that vanished
// meanwhile is no failure.
func (a *Attached) note(i *place, attached bool, err error) {
	m := a.manager
	vanished := !attached && m.vanished(i.Index)
	m.mu.Lock()
	defer m.mu.Unlock()
	if attached {
		a.interfaces[i.Index] = i
	}
	switch {
	case vanished:
		delete(a.failures, i.Index)
		a.Logger.Debug("an interface vanished before a program was attached", zap.String("interface", i.Name), zap.Error(err))
		return
	case err == nil:
		delete(a.failures, i.Index)
		if m.registry.trial {
			clear(a.failures)
		}
		a.Logger.Debug("attached a program", zap.String("interface", i.Name), zap.String("hook", string(a.mode)))
		return
	}
	// A missing capability concerns all interfaces, and the states report it once.
	var refused *capability.Refusal
	if a.failures[i.Index] == nil && !errors.As(err, &refused) {
		a.Logger.Warn("a program is not attached to an interface, or in one direction only",
			zap.String("program", a.Name), zap.String("interface", i.Name), zap.Error(err))
	}
	a.failures[i.Index] = err
}
