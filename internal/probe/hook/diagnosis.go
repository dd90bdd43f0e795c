// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"errors"
	"path"
	"strings"
)

// FeatureDiagnosis describes one feature on one host: all ways to it, each tried.
type FeatureDiagnosis struct {
	Name  string `json:"name"`
	Gives string `json:"gives"`
	// Wanted is false if the configuration excludes the feature.
	Wanted bool `json:"wanted"`
	// Impossible says why no way was tried; empty when they were.
	Impossible string         `json:"impossible,omitempty"`
	Ways       []WayDiagnosis `json:"ways,omitempty"`
}

// WayDiagnosis describes one way to a feature.
type WayDiagnosis struct {
	// Hooks are the kernel's names of the hooks that it needs together.
	Hooks []string `json:"hooks"`
	// Error says why it does not work here; empty when it does.
	Error string `json:"error,omitempty"`
	// Cause is the kind of Error.
	Cause Cause `json:"cause,omitempty"`
}

// Cause is the kind of reason why a way does not work.
type Cause string

const (
	// CauseMissing: the kernel has no such hook, or the configuration leaves the way out.
	CauseMissing Cause = "missing"
	// CausePermission: the kernel does not permit it, to this process or at all.
	CausePermission Cause = "permission"
	// CauseVerifier: the kernel's verifier rejects the program, which is then at fault.
	CauseVerifier Cause = "verifier"
	// CauseExcluded: hooks::exclude has it.
	CauseExcluded Cause = "excluded"
)

// Works reports whether all hooks attached.
func (w *WayDiagnosis) Works() bool { return w.Error == "" }

// Reason is the error without the names of the hooks. Hooks of one kind that are refused
// for one cause have one reason.
func (w *WayDiagnosis) Reason() string {
	for _, hook := range w.Hooks {
		for _, attempted := range []string{"load ", "attach "} {
			if cause, ok := strings.CutPrefix(w.Error, attempted+hook+": "); ok {
				return path.Dir(hook) + ": " + cause
			}
		}
	}
	return w.Error
}

// Used is the way that a receiver takes here: the first that works; nil if none does.
func (f *FeatureDiagnosis) Used() *WayDiagnosis {
	for i := range f.Ways {
		if f.Ways[i].Works() {
			return &f.Ways[i]
		}
	}
	return nil
}

// State is the state that a hook of the feature would have in a receiver.
func (f *FeatureDiagnosis) State() State {
	state := State{Feature: f.Name, Gives: f.Gives, Attached: f.Used() != nil}
	if state.Attached {
		return state
	}
	var causes Refusals
	if f.Impossible != "" {
		causes = append(causes, errors.New(f.Impossible))
	}
	for i := range f.Ways {
		causes = append(causes, errors.New(f.Ways[i].Reason()))
	}
	state.Err = causes
	return state
}
