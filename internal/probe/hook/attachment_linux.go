// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package hook

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
)

// Attachment is the result of attaching a feature.
type Attachment struct {
	Feature
	// hooks are those of the way that attached; none when all were refused.
	hooks []attachedHook
	// refused has one error for each way that was tried and failed.
	refused Refusals
}

type attachedHook struct {
	Hook
	prog *ebpf.Program
	link link.Link
}

// Attach tries the ways to a feature until one attaches.
func (o *Object) Attach(f Feature) *Attachment {
	a := &Attachment{Feature: f}
	if err := cmp.Or(f.Impossible, o.Host.NoBTF); err != nil {
		a.refused = Refusals{err}
		return a
	}
	for _, w := range f.Ways {
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
func (o *Object) attachAll(w Way) ([]attachedHook, error) {
	hooks := make([]attachedHook, 0, len(w))
	for i := range w {
		attached, err := o.attachHook(w[i])
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

func (o *Object) attachHook(h Hook) (attachedHook, error) {
	attached := attachedHook{Hook: h}
	if err := o.Host.Excluded.Refuse(h.Point()); err != nil {
		return attached, err
	}
	if err := errors.Join(h.Off, h.Kind.missing(), o.Host.checkArgument(&h)); err != nil {
		return attached, &Error{"attach", h.Point(), err}
	}
	var err error
	if attached.prog, err = o.Load(h.Program, h.Kind.configure); err != nil {
		return attached, &Error{"load", h.Point(), o.ExplainMissing(h.Program, capability.Explain(err))}
	}
	if attached.link, err = h.Kind.attach(h.At, attached.prog); err != nil {
		return attached, errors.Join(&Error{"attach", h.Point(), h.Kind.explain(err)}, attached.close())
	}
	return attached, nil
}

// checkArgument compares what the program relies on with the kernel's BTF. Functions are no
// stable interface, and a kprobe would read whatever is in the register.
func (h *Host) checkArgument(hook *Hook) error {
	if hook.Argument == (Argument{}) {
		return nil
	}
	kernel, err := h.cache.Kernel()
	if err != nil {
		return fmt.Errorf("read the kernel's BTF: %w", err)
	}
	var f *btf.Func
	if err := kernel.TypeByName(hook.At, &f); err != nil {
		return fmt.Errorf("this kernel has no function %s: %w", hook.At, err)
	}
	if proto, ok := f.Type.(*btf.FuncProto); ok && len(proto.Params) > hook.Argument.Position {
		if pointer, ok := btf.UnderlyingType(proto.Params[hook.Argument.Position].Type).(*btf.Pointer); ok {
			if s, ok := btf.UnderlyingType(pointer.Target).(*btf.Struct); ok && s.Name == hook.Argument.Pointee {
				return nil
			}
		}
	}
	return fmt.Errorf("parameter %d of this kernel's %s is no struct %s", hook.Argument.Position+1, hook.At, hook.Argument.Pointee)
}

// Attached reports whether a way attached, before Detach or after.
func (a *Attachment) Attached() bool { return len(a.hooks) > 0 }

// Detach takes the programs off the kernel; their statistics can still be read.
func (a *Attachment) Detach() error {
	var err error
	for i := range a.hooks {
		err = errors.Join(err, a.hooks[i].detach())
	}
	return err
}

// Close detaches the programs and frees them.
func (a *Attachment) Close() error {
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
		return fmt.Errorf("detach %s: %w", h.Point(), err)
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

// States has one state for each hook in use, or one for the best way when all were refused.
func (a *Attachment) States() []State {
	if !a.Attached() {
		return []State{{Feature: a.Name, Name: a.Ways[0][0].Point(), Gives: a.Gives, Err: a.refused}}
	}
	states := make([]State, len(a.hooks))
	for i := range a.hooks {
		h := &a.hooks[i]
		states[i] = State{Feature: a.Name, Name: h.Point(), Gives: a.Gives, Attached: h.link != nil}
		states[i].AddStatistics(h.prog)
	}
	return states
}

// Diagnose tries all ways to a feature, not only those up to the first that works, and
// detaches each at once.
func (o *Object) Diagnose(f Feature) FeatureDiagnosis {
	d := FeatureDiagnosis{Name: f.Name, Gives: f.Gives, Wanted: f.Wanted}
	if err := cmp.Or(f.Impossible, o.Host.NoBTF); err != nil {
		d.Impossible = err.Error()
		return d
	}
	for _, w := range f.Ways {
		hooks, err := o.attachAll(w)
		for i := range hooks {
			err = errors.Join(err, hooks[i].close())
		}
		var points []string
		for i := range w {
			points = append(points, w[i].Point())
		}
		d.Ways = append(d.Ways, NewWayDiagnosis(err, slices.Compact(points)...))
	}
	return d
}
