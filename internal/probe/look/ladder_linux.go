// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

// Package look asks the sockets of a map's entries what they say now: of open connections
// their bytes, of listeners their queues. Kernels allow this in different ways, so each kind
// of look is a ladder of ways, best first.
package look

//lint:file-ignore U1000 staticcheck does not follow methods of generic types behind an interface

import (
	"errors"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
)

// Ladder is a feature that user space asks for: looks at every entry of a map. R is one look.
// Its ways are tried in order.
type Ladder[R any] struct {
	sources        *Sources
	feature, gives string
	ways           []way[R]
	// used is nil when all ways were refused.
	used way[R]
	// refused has one error for each way that was tried and does not work.
	refused hook.Refusals
}

// way is one way to look at the entries of a map.
type way[R any] interface {
	// hooks are the kernel's names of what the way needs together; the program, if there
	// is one, runs at the first.
	hooks() []string
	load(*Sources) error
	// each passes on a look at every entry; take may change the look.
	each(take func(*R)) error
	// lacks says what other ways give and this one does not. The zero value is nothing.
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

// Load takes the first way that works.
func (l *Ladder[R]) Load() {
	for _, w := range l.ways {
		err := l.try(w)
		if err == nil {
			l.used = w
			return
		}
		l.refused = append(l.refused, err)
	}
}

// try loads a way, or nothing of it.
func (l *Ladder[R]) try(w way[R]) error {
	for _, name := range w.hooks() {
		if err := l.sources.Host.Excluded.Refuse(name); err != nil {
			return err
		}
	}
	if err := w.load(l.sources); err != nil {
		return errors.Join(err, w.close())
	}
	return nil
}

// Works reports whether there is a way at all.
func (l *Ladder[R]) Works() bool { return l.used != nil }

// Each looks at every entry. Where no way works there are no looks: States says why.
func (l *Ladder[R]) Each(take func(*R)) error {
	if l.used == nil {
		return nil
	}
	return l.used.each(take)
}

// Reads reports whether the way in use asks sockets. The last way only reads entries.
func (l *Ladder[R]) Reads() bool { return l.used != nil && l.used.program() != nil }

// States describes the hooks in use, or the best one when all were refused. What a lower way
// does not give is described as a hook that is off.
func (l *Ladder[R]) States() []hook.State {
	if l.used == nil && len(l.refused) == 0 {
		return nil // not loaded yet
	}
	best := l.ways[0].hooks()[0]
	if l.used == nil {
		return []hook.State{{Feature: l.feature, Name: best, Gives: l.gives, Err: l.refused}}
	}
	var states []hook.State
	for i, name := range l.used.hooks() {
		state := hook.State{Feature: l.feature, Name: name, Gives: l.gives, Attached: true}
		if i == 0 {
			state.AddStatistics(l.used.program())
		}
		states = append(states, state)
	}
	if lacks := l.used.lacks(); lacks.gives != "" {
		if lacks.hook == "" {
			lacks.hook, lacks.err = best, l.refused
		}
		states = append(states, hook.State{Feature: l.feature, Name: lacks.hook, Gives: lacks.gives, Err: lacks.err})
	}
	return states
}

// Diagnose tries every way.
func (l *Ladder[R]) Diagnose() hook.FeatureDiagnosis {
	d := hook.FeatureDiagnosis{Name: l.feature, Gives: l.gives, Wanted: true}
	for _, w := range l.ways {
		err := l.try(w)
		d.Ways = append(d.Ways, hook.NewWayDiagnosis(errors.Join(err, w.close()), w.hooks()...))
	}
	return d
}

// Close frees the programs. It may be called twice.
func (l *Ladder[R]) Close() error {
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

func (w *iteratorWay[R]) load(s *Sources) error {
	return w.Attach(s.Iterators)
}

func (w *iteratorWay[R]) each(take func(*R)) error { return hook.Each(&w.Iterator, take) }

func (w *iteratorWay[R]) lacks() shortcoming { return shortcoming{} }

func (w *iteratorWay[R]) program() *ebpf.Program { return w.Loaded() }

func (w *iteratorWay[R]) close() error { return w.Close() }
