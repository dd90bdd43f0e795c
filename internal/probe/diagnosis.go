// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Diagnosis is what one host can give: each feature with all ways to it, tried for
// real, and what the kernel's maps take.
type Diagnosis struct {
	// Kernel is the running kernel's release, Machine its architecture.
	Kernel  string `json:"kernel"`
	Machine string `json:"machine"`
	// BTF is "readable", or why the kernel's type information is not.
	BTF string `json:"btf"`
	// Capabilities are those that have a use here.
	Capabilities []CapabilityDiagnosis `json:"capabilities,omitempty"`
	// Error is why nothing at all could be tried; there are no Features then.
	Error    string             `json:"error,omitempty"`
	Features []FeatureDiagnosis `json:"features,omitempty"`
	Maps     []MapMemory        `json:"maps,omitempty"`
	// Bytes is the sum over Maps.
	Bytes uint64 `json:"map_bytes"`
}

// CapabilityDiagnosis is about one capability of this process.
type CapabilityDiagnosis struct {
	Name string `json:"name"`
	// Held: the process has it.
	Held bool `json:"held"`
	// Recommended: one of those that give all that a host can.
	Recommended bool `json:"recommended"`
	// Gives is what is lost without it.
	Gives string `json:"gives"`
}

// FeatureDiagnosis is about one feature.
type FeatureDiagnosis struct {
	Name  string `json:"name"`
	Gives string `json:"gives"`
	// Wanted is false when the configuration leaves the feature out.
	Wanted bool `json:"wanted"`
	// Impossible is why no way was tried; empty when they were.
	Impossible string         `json:"impossible,omitempty"`
	Ways       []WayDiagnosis `json:"ways,omitempty"`
}

// nothing tells whether no feature that is wanted works.
func (d *Diagnosis) nothing() bool {
	for i := range d.Features {
		if f := &d.Features[i]; f.Wanted && f.Used() != nil {
			return false
		}
	}
	return true
}

// Used is the way that a receiver takes here: the first that works; nil if none.
func (f *FeatureDiagnosis) Used() *WayDiagnosis {
	for i := range f.Ways {
		if f.Ways[i].Works() {
			return &f.Ways[i]
		}
	}
	return nil
}

// Lacks is why the host does not give a feature: "live", or a feature by hooks that a
// pattern matches: "packet by tcx/*". Empty when it does.
func (d *Diagnosis) Lacks(need string) (string, error) {
	name, pattern, _ := strings.Cut(need, " by ")
	at := slices.IndexFunc(d.Features, func(f FeatureDiagnosis) bool { return f.Name == name })
	if at < 0 {
		return "", fmt.Errorf("%s: there is no feature %s", need, name)
	}
	f := &d.Features[at]
	var reasons []string
	for i := range f.Ways {
		switch w := &f.Ways[i]; {
		case pattern != "" && !hookPatterns{pattern}.match(w.Hooks[0]):
		case w.Works():
			return "", nil
		default:
			reasons = append(reasons, w.Error)
		}
	}
	if f.Impossible == "" && len(reasons) == 0 {
		return "", fmt.Errorf("%s: there is no such way to %s", need, name)
	}
	return cmp.Or(f.Impossible, strings.Join(reasons, "; ")), nil
}

// WayDiagnosis is about one way to a feature.
type WayDiagnosis struct {
	// Hooks are the kernel's names of the hooks that it needs together.
	Hooks []string `json:"hooks"`
	// Error is why it does not work here; empty when it does.
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

// Reason is the error without the names of the hooks: what is equal for hooks of one
// kind that are refused for one reason.
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

// State is that of a hook of the feature, as a receiver would have it.
func (f *FeatureDiagnosis) State() HookState {
	state := HookState{Feature: f.Name, Gives: f.Gives, Attached: f.Used() != nil}
	if state.Attached {
		return state
	}
	var causes refusals
	if f.Impossible != "" {
		causes = append(causes, errors.New(f.Impossible))
	}
	for i := range f.Ways {
		causes = append(causes, errors.New(f.Ways[i].Reason()))
	}
	state.Err = causes
	return state
}

// Works tells whether all hooks attached.
func (w *WayDiagnosis) Works() bool { return w.Error == "" }

// MapMemory is what one of the kernel's maps takes.
type MapMemory struct {
	Name    string `json:"name"`
	Entries uint32 `json:"entries"`
	// Bytes is what the kernel charges for it; 0 where the kernel does not tell.
	Bytes uint64 `json:"bytes"`
}
