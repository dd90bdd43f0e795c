// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

//lint:file-ignore U1000 staticcheck does not follow methods of generic types behind an interface

import (
	"errors"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
)

// look is a feature that user space asks for: what the sockets of a map's entries say
// now. R is what one look at an entry brings. Its ways are tried in their order.
type look[R any] struct {
	feature, gives string
	ways           []lookWay[R]
	// used is nil when all ways were refused.
	used lookWay[R]
	// refused says of each way that was tried and does not work why.
	refused hook.Refusals
}

// lookWay is one way to look at the entries of a map.
type lookWay[R any] interface {
	// hooks are the kernel's names of what the way needs together; the program, if there
	// is one, runs at the first.
	hooks() []string
	load(o *objects) error
	// each hands over a look at every entry, which hand may change.
	each(hand func(*R)) error
	// lacks tells what other ways give and this one does not, and why; nothing if there is
	// nothing.
	lacks() shortcoming
	program() *ebpf.Program
	close() error
}

// shortcoming is a part of a feature that a way does not give.
type shortcoming struct {
	// gives is what is lost, hook what would give it, err why it does not.
	gives, hook string
	err         error
}

// load takes the first way that works.
func (l *look[R]) load(o *objects) {
	for _, w := range l.ways {
		err := l.try(o, w)
		if err == nil {
			l.used = w
			return
		}
		l.refused = append(l.refused, err)
	}
}

// try loads a way, or nothing of it.
func (l *look[R]) try(o *objects, w lookWay[R]) error {
	for _, name := range w.hooks() {
		if err := o.host.Excluded.Refuse(name); err != nil {
			return err
		}
	}
	if err := w.load(o); err != nil {
		return errors.Join(err, w.close())
	}
	return nil
}

// each looks at every entry. Without a way there is nothing to see: the hook's state tells.
func (l *look[R]) each(hand func(*R)) error {
	if l.used == nil {
		return nil
	}
	return l.used.each(hand)
}

// reads tells whether the way in use asks sockets at all.
func (l *look[R]) reads() bool { return l.used != nil && l.used.program() != nil }

func (l *look[R]) states() []HookState {
	if len(l.ways) == 0 {
		return nil // not loaded yet
	}
	best := l.ways[0].hooks()[0]
	if l.used == nil {
		return []HookState{{Feature: l.feature, Name: best, Gives: l.gives, Err: l.refused}}
	}
	var states []HookState
	for i, name := range l.used.hooks() {
		state := HookState{Feature: l.feature, Name: name, Gives: l.gives, Attached: true}
		if i == 0 {
			state.AddStatistics(l.used.program())
		}
		states = append(states, state)
	}
	if lacks := l.used.lacks(); lacks.gives != "" {
		if lacks.hook == "" {
			lacks.hook, lacks.err = best, l.refused
		}
		states = append(states, HookState{Feature: l.feature, Name: lacks.hook, Gives: lacks.gives, Err: lacks.err})
	}
	return states
}

func (l *look[R]) diagnose(o *objects) FeatureDiagnosis {
	d := FeatureDiagnosis{Name: l.feature, Gives: l.gives, Wanted: true}
	for _, w := range l.ways {
		err := l.try(o, w)
		d.Ways = append(d.Ways, hook.NewWayDiagnosis(errors.Join(err, w.close()), w.hooks()...))
	}
	return d
}

func (l *look[R]) close() error {
	if l.used == nil {
		return nil
	}
	err := l.used.close()
	l.used = nil
	return err
}

// iteratorWay is an iterator over the map's entries, which the kernel runs.
type iteratorWay[R any] struct{ hook.Iterator }

func (w *iteratorWay[R]) hooks() []string { return []string{w.Point} }

func (w *iteratorWay[R]) load(o *objects) error {
	return w.Attach(&o.scans)
}

func (w *iteratorWay[R]) each(hand func(*R)) error { return hook.Each(&w.Iterator, hand) }

func (w *iteratorWay[R]) lacks() shortcoming { return shortcoming{} }

func (w *iteratorWay[R]) program() *ebpf.Program { return w.Loaded() }

func (w *iteratorWay[R]) close() error { return w.Close() }
