// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/packets"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/sources"
)

// MapFill is how full a kernel map is.
type MapFill struct {
	Name              string
	Entries, Capacity int
}

// NetworkNamespaces counts the namespaces of Config.NetworkNamespaces that exist.
type NetworkNamespaces = packets.NetworkNamespaces

// SourceFigures say how full the table of sources is, and who gets into it.
type SourceFigures = sources.Figures

// Snapshot is one reading of the kernel's maps. Figures are cumulative since the probe
// started.
type Snapshot struct {
	// Time is Unix nanoseconds.
	Time   int64
	Ledger ledger.Kernel
	Ports  []connection.PortCounter
	// Queues are those of listeners in all network namespaces; a pass may miss some.
	Queues []connection.Queues
	// Overflows are those of accept queues that belong to no known listener, since the last
	// snapshot. They come from namespaces whose counter was read, where no hook counts.
	Overflows  []connection.Overflow
	Interfaces []packet.Interface
	Namespaces NetworkNamespaces
	// Sources is nil unless sources are counted.
	Sources *SourceFigures
	Maps    []MapFill
	Hooks   []HookState
	// Absent are the counters of connections that this kernel lacks.
	Absent connection.Absent
	// HalfOpen is set if half-open attempts are followed, as far as packets are seen.
	HalfOpen bool
}
