// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
)

// attachment is a feature that was asked for, and what became of it.
type attachment struct {
	feature
	// hooks are those of the way that attached; none when all were refused.
	hooks []attachedHook
	// refused says of each way that was tried in vain why.
	refused refusals
}

type attachedHook struct {
	hook
	prog *ebpf.Program
	link link.Link
}

// attach tries the ways to a feature until one attaches.
func (o *objects) attach(f feature) *attachment {
	a := &attachment{feature: f}
	if err := cmp.Or(f.impossible, o.kernel.noBTF); err != nil {
		a.refused = refusals{err}
		return a
	}
	for _, w := range f.ways {
		hooks, err := o.attachAll(w)
		if err == nil {
			a.hooks = hooks
			return a
		}
		a.refused = append(a.refused, err)
	}
	return a
}

// attachAll attaches every hook of a way, or none.
func (o *objects) attachAll(w way) ([]attachedHook, error) {
	hooks := make([]attachedHook, 0, len(w))
	for _, h := range w {
		attached, err := o.attachHook(h)
		if err != nil {
			for i := range hooks {
				err = errors.Join(err, hooks[i].close())
			}
			return nil, err
		}
		hooks = append(hooks, attached)
	}
	return hooks, nil
}

func (o *objects) attachHook(h hook) (attachedHook, error) {
	attached := attachedHook{hook: h}
	if err := o.excluded.refuse(h.point()); err != nil {
		return attached, err
	}
	if err := errors.Join(h.off, h.kind.missing(), o.hooks.checkArgument(&h)); err != nil {
		return attached, &hookError{"attach", h.point(), err}
	}
	var err error
	if attached.prog, err = o.hooks.load(h.program, h.kind.configure); err != nil {
		return attached, &hookError{"load", h.point(), o.hooks.explainMissing(h.program, capability.Explain(err))}
	}
	if attached.link, err = h.kind.attach(h.at, attached.prog); err != nil {
		return attached, errors.Join(&hookError{"attach", h.point(), h.kind.explain(err)}, attached.close())
	}
	return attached, nil
}

// configure changes what is loaded to how it will be attached.
func (k hookKind) configure(spec *ebpf.ProgramSpec) {
	if k == hookKprobeMulti {
		spec.AttachType = ebpf.AttachTraceKprobeMulti
	}
}

// explain says why the kernel may have refused to attach a hook of this kind.
func (k hookKind) explain(err error) error {
	if k == hookKprobe {
		return capability.ExplainPerf(err)
	}
	return capability.Explain(err)
}

// checkArgument asks the kernel's BTF for what the program relies on, for functions
// are no stable interface and a kprobe would read whatever is in the register.
func (o *object) checkArgument(h *hook) error {
	if h.argument == (argument{}) {
		return nil
	}
	kernel, err := o.types.Kernel()
	if err != nil {
		return fmt.Errorf("read the kernel's BTF: %w", err)
	}
	var f *btf.Func
	if err := kernel.TypeByName(h.at, &f); err != nil {
		return fmt.Errorf("this kernel has no function %s: %w", h.at, err)
	}
	if proto, ok := f.Type.(*btf.FuncProto); ok && len(proto.Params) > h.argument.position {
		if pointer, ok := btf.UnderlyingType(proto.Params[h.argument.position].Type).(*btf.Pointer); ok {
			if s, ok := btf.UnderlyingType(pointer.Target).(*btf.Struct); ok && s.Name == h.argument.pointee {
				return nil
			}
		}
	}
	return fmt.Errorf("parameter %d of this kernel's %s is no struct %s", h.argument.position+1, h.at, h.argument.pointee)
}

func (a *attachment) attached() bool { return len(a.hooks) > 0 }

// detach takes the programs off the kernel; their statistics can still be read.
func (a *attachment) detach() error {
	var err error
	for i := range a.hooks {
		err = errors.Join(err, a.hooks[i].detach())
	}
	return err
}

func (a *attachment) close() error {
	var err error
	for i := range a.hooks {
		err = errors.Join(err, a.hooks[i].close())
	}
	return err
}

func (h *attachedHook) detach() error {
	if h.link == nil {
		return nil
	}
	err := h.link.Close()
	h.link = nil
	if err != nil {
		return fmt.Errorf("detach %s: %w", h.point(), err)
	}
	return nil
}

func (h *attachedHook) close() error {
	err := h.detach()
	if h.prog != nil {
		err = errors.Join(err, h.prog.Close())
		h.prog = nil
	}
	return err
}

// states are those of the hooks in use, or one of the best way when all were refused.
func (a *attachment) states() []HookState {
	if !a.attached() {
		return []HookState{{Feature: a.name, Name: a.ways[0][0].point(), Gives: a.gives, Err: a.refused}}
	}
	states := make([]HookState, len(a.hooks))
	for i := range a.hooks {
		h := &a.hooks[i]
		states[i] = HookState{Feature: a.name, Name: h.point(), Gives: a.gives, Attached: h.link != nil}
		states[i].addStatistics(h.prog)
	}
	return states
}

// addStatistics fills in the kernel's figures; without them they stay 0.
func (s *HookState) addStatistics(prog *ebpf.Program) {
	if prog == nil {
		return
	}
	stats, err := prog.Stats()
	if err != nil {
		return
	}
	s.Runs += stats.RunCount
	s.Nanoseconds += uint64(stats.Runtime)
	s.Missed += stats.RecursionMisses
}
