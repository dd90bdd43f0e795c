// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"strings"
	"weak"
)

// interned returns one pointer per distinct workload while anything holds that pointer,
// in this package or outside. A metric series keeps one, which must equal those of later
// processes. The references are weak, so that unused workloads are freed.
type interned struct {
	workloads map[Workload]weak.Pointer[Workload]
	// sweepAt is the size at which freed workloads are removed.
	sweepAt int
}

// minSweep keeps small tables from being swept all the time.
const minSweep = 64

func newInterned() *interned {
	return &interned{workloads: make(map[Workload]weak.Pointer[Workload]), sweepAt: minSweep}
}

func (i *interned) pointer(value Workload) *Workload {
	if known := i.workloads[value].Value(); known != nil {
		return known
	}
	if len(i.workloads) >= i.sweepAt {
		i.sweep()
	}
	// The strings may be parts of longer ones, such as a whole file.
	value.Executable = strings.Clone(value.Executable)
	value.Container.ID = strings.Clone(value.Container.ID)
	value.Container.PodUID = strings.Clone(value.Container.PodUID)
	fresh := &value
	i.workloads[value] = weak.Make(fresh)
	return fresh
}

// sweep runs again at twice the number of live workloads, so that its cost per new
// workload stays constant.
func (i *interned) sweep() {
	for value, pointer := range i.workloads {
		if pointer.Value() == nil {
			delete(i.workloads, value)
		}
	}
	i.sweepAt = max(minSweep, 2*len(i.workloads))
}
