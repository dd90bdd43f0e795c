// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
)

// MapFill is how full a kernel map is.
type MapFill struct {
	Name              string
	Entries, Capacity int
}

// HookState tells about one hook: what it gives, and whether it does.
type HookState struct {
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

// add takes another program's statistics in.
func (s *HookState) add(other *HookState) {
	s.Runs += other.Runs
	s.Nanoseconds += other.Nanoseconds
	s.Missed += other.Missed
}

// NetworkNamespaces counts the namespaces that are there of Config.NetworkNamespaces.
type NetworkNamespaces struct {
	// Attached are those that packets are looked at in, Failed those where this was
	// refused, OverLimit those beyond Config.MaxNetworkNamespaces.
	Attached, Failed, OverLimit int
}

// Snapshot is what is read from the kernel's maps at one time. Figures are
// cumulative since the probe started.
type Snapshot struct {
	// Time is Unix nanoseconds.
	Time   int64
	Ledger ledger.Kernel
	Ports  []connection.PortCounter
	// Queues are those of the listeners of all network namespaces; a pass may miss some.
	Queues []connection.Queues
	// Overflows are those of accept queues that are no listener's own, of each namespace
	// whose counter was read where no hook counts; since the snapshot before.
	Overflows  []connection.Overflow
	Interfaces []packet.Interface
	Namespaces NetworkNamespaces
	Maps       []MapFill
	Hooks      []HookState
}
