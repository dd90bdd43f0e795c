// SPDX-License-Identifier: Apache-2.0

package hook

import "github.com/cilium/ebpf"

// State describes one hook: what it gives, and whether it does.
type State struct {
	// Feature is what the hook is for, in a word; several hooks can share one.
	Feature string
	// Name is the kernel's name of the hook, such as tp_btf/inet_sock_set_state.
	Name string
	// Gives is what is lost without it, for people.
	Gives string
	// Attached is false when the hook is off, see Err.
	Attached bool
	// Err says why not; nil when attached or not asked for.
	Err error
	// Runs, Nanoseconds and Missed are the kernel's own statistics; the first two
	// are 0 unless kernel.bpf_stats_enabled is set.
	Runs, Nanoseconds, Missed uint64
}

// Add adds another program's statistics.
func (s *State) Add(other *State) {
	s.Runs += other.Runs
	s.Nanoseconds += other.Nanoseconds
	s.Missed += other.Missed
}

// AddStatistics adds the kernel's figures of a program. It adds nothing where the kernel
// keeps none, or where there is no program.
func (s *State) AddStatistics(prog *ebpf.Program) {
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
