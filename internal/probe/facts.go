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
