// SPDX-License-Identifier: Apache-2.0

// Package probe is the only package that touches the kernel. It loads and attaches
// the BPF programs of bpf/, each hook on its own, and decodes their records into
// domain facts.
package probe

import (
	"net/netip"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
)

// PortRange is inclusive at both ends.
type PortRange struct{ First, Last uint16 }

// TCMode says how the packet vantage point attaches.
type TCMode string

const (
	TCAuto   TCMode = "auto" // TCX where the kernel has it (6.6), else clsact
	TCX      TCMode = "tcx"
	TCClsact TCMode = "clsact"
	TCOff    TCMode = "off"
)

// Scope says in which network namespaces sockets are seen.
type Scope string

const (
	// ScopeAll is every one; so is "".
	ScopeAll Scope = "all"
	// ScopeHost is the one that the probe was made in.
	ScopeHost Scope = "host"
	// ScopeInitialUserNS are those that belong to the initial user namespace, which
	// only root of the host can make.
	ScopeInitialUserNS Scope = "initial_user_namespace"
)

// Config is what the kernel side has to know. The zero value of a filter selects
// everything. The receiver validates; probe trusts.
type Config struct {
	// Scope selects network namespaces.
	Scope Scope
	// Local ports whose connections are reported.
	IncludePorts, ExcludePorts []PortRange
	// Client addresses whose connections are reported.
	IncludeClients, ExcludeClients []netip.Prefix

	// Interface names or globs for the packet vantage point.
	IncludeInterfaces, ExcludeInterfaces []string
	// NetworkNamespaces are absolute paths or globs of files of further network
	// namespaces that the packet vantage point works in while they are there.
	NetworkNamespaces []string
	// MaxNetworkNamespaces bounds these; what is over it is left out. Each takes some
	// 270 KiB of the kernel's memory while it is there: docs/limits.md.
	MaxNetworkNamespaces uint32

	TCMode TCMode
	// TCFirst puts our programs before others of the same hook; else after.
	TCFirst bool

	// HalfOpen tracks handshakes that never complete.
	HalfOpen bool
	// HandshakeTimeout is the age at which a half-open attempt has failed.
	HandshakeTimeout time.Duration

	// OpenRecords asks for a record when a connection opens.
	OpenRecords bool
	// FailedRecords asks for a record of each failed attempt; counters are kept anyway.
	FailedRecords bool
	// FailedPerSecond bounds the records of failed attempts; counters are exact.
	FailedPerSecond uint32

	// PacketSampleRate selects one packet in this many; 0 selects none by rate.
	PacketSampleRate uint32
	// PacketClasses selects every packet of these classes.
	PacketClasses []packet.Class
	// PacketsPerSecond bounds the selected packets.
	PacketsPerSecond uint32

	// Drops and Retransmits ask for the counters of the same names; what is not asked
	// for is not loaded.
	Drops, Retransmits bool

	// Handshakes asks for the duration of handshakes whose SYN-ACK was sent again.
	Handshakes bool
	// Accepts asks for the time in the accept queue, which Process brings, too.
	Accepts bool
	// Overflows asks for the attempts that full accept queues turn away.
	Overflows bool

	// Process takes the owning process in the kernel.
	Process bool
	// AcceptTracepoint allows the syscall exit tracepoints of accept and accept4 where
	// no better way leads to who accepted. They slow every system call of the host:
	// docs/performance.md has how much.
	AcceptTracepoint bool

	// MaxConnections is the size of the connections map.
	MaxConnections uint32
	// MaxListeners is the size of the listeners map, and of the one of their ports; 0
	// means 16384.
	MaxListeners uint32
	// MaxHalfOpen is the size of the map of handshakes in progress; 0 means 16384.
	MaxHalfOpen uint32
	// MaxPortCounters is the size of the map of counters per port; 0 means 8192.
	MaxPortCounters uint32
	// RingBytes is the size of the ring buffer, a power of two of whole pages.
	RingBytes uint32

	// ownNetNS is the inode number of the collector's own network namespace.
	ownNetNS uint32

	// ExcludeHooks are patterns (syntax of path.Match) of hooks that are never used, as
	// though the kernel refused them: see CheckHookPattern.
	ExcludeHooks []string
}
