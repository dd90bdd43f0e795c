// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
)

// Diagnosis is what one host supports: each feature with all ways to it, which were tried,
// and the memory of the kernel's maps.
type Diagnosis struct {
	// Kernel is the running kernel's release, Machine its architecture.
	Kernel  string `json:"kernel"`
	Machine string `json:"machine"`
	// BTF is "readable", or why the kernel's type information is not.
	BTF string `json:"btf"`
	// Capabilities are those that have a use here.
	Capabilities []CapabilityDiagnosis `json:"capabilities,omitempty"`
	// Error is why nothing could be tried. There are no Features then.
	Error    string             `json:"error,omitempty"`
	Features []FeatureDiagnosis `json:"features,omitempty"`
	Maps     []MapMemory        `json:"maps,omitempty"`
	// Bytes is the sum over Maps.
	Bytes uint64 `json:"map_bytes"`
}

// CapabilityDiagnosis describes one capability of this process.
type CapabilityDiagnosis struct {
	Name string `json:"name"`
	// Held is set if the process has it.
	Held bool `json:"held"`
	// Recommended capabilities provide everything that a host supports.
	Recommended bool `json:"recommended"`
	// Gives is what is lost without it.
	Gives string `json:"gives"`
}

// nothing reports whether no wanted feature works.
func (d *Diagnosis) nothing() bool {
	for i := range d.Features {
		if f := &d.Features[i]; f.Wanted && f.Used() != nil {
			return false
		}
	}
	return true
}

// Lacks returns why the host does not support a feature, such as "live", or a feature by
// hooks that a pattern matches, such as "packet by tcx/*". It is empty if the host does.
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
		case pattern != "" && !hook.Patterns{pattern}.Match(w.Hooks[0]):
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

// MapMemory is the memory of one of the kernel's maps.
type MapMemory struct {
	Name    string `json:"name"`
	Entries uint32 `json:"entries"`
	// Bytes is what the kernel charges for it; 0 if unknown.
	Bytes uint64 `json:"bytes"`
}
