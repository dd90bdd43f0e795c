// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"strings"
	"weak"
)

// interned hands out one pointer per distinct workload for as long as anybody
// holds that pointer, in this package or outside: a pointer kept by a metric series
// must stay equal to those of later processes. Its references are therefore weak,
// and what nobody holds any more is dropped.
type interned struct {
	workloads map[Workload]weak.Pointer[Workload]
	// sweepAt is the size at which the dead are looked for.
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

// sweep doubles the distance to the next sweep with what is alive, so that its cost
// per new workload stays constant.
func (i *interned) sweep() {
	for value, pointer := range i.workloads {
		if pointer.Value() == nil {
			delete(i.workloads, value)
		}
	}
	i.sweepAt = max(minSweep, 2*len(i.workloads))
}
