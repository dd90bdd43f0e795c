// SPDX-License-Identifier: Apache-2.0

// Package settings holds what the kernel side has to know, in groups that each concern one
// part of it. The zero value of a filter selects everything. The receiver validates; the
// kernel side trusts.
package settings

import (
	"net/netip"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
)

// Config is all of it.
type Config struct {
	// Scope selects network namespaces.
	Scope Scope
	Filter
	Sockets
	Failures
	Attribution
	Packets
	Limits
	// Inspect says what is looked for inside packets.
	Inspect Inspect
	// Sources says what is counted per source.
	Sources Sources

	// ExcludeHooks are patterns (syntax of path.Match) of hooks that are not used, as if
	// the kernel refused them: see hook.CheckPattern.
	ExcludeHooks []string
}

// Scope says in which network namespaces sockets are observed.
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

// Filter selects connections.
type Filter struct {
	// Local ports whose connections are reported.
	IncludePorts, ExcludePorts []PortRange
	// Client addresses whose connections are reported.
	IncludeClients, ExcludeClients []netip.Prefix
}

// ByPort reports whether ports are selected at all.
func (f *Filter) ByPort() bool { return len(f.IncludePorts)+len(f.ExcludePorts) > 0 }

// ByClient reports whether clients are selected at all.
func (f *Filter) ByClient() bool { return len(f.IncludeClients)+len(f.ExcludeClients) > 0 }

// PortRange is inclusive at both ends.
type PortRange struct{ First, Last uint16 }

// Ports is the number of TCP ports.
const Ports = 65536

// SelectedPorts has a 1 for each port that the filter selects.
func (f *Filter) SelectedPorts() *[Ports]uint8 {
	var selected [Ports]uint8
	mark := func(ranges []PortRange, value uint8) {
		for _, r := range ranges {
			for port := int(r.First); port <= int(r.Last); port++ {
				selected[port] = value
			}
		}
	}
	if len(f.IncludePorts) == 0 {
		mark([]PortRange{{0, Ports - 1}}, 1)
	}
	mark(f.IncludePorts, 1)
	mark(f.ExcludePorts, 0)
	return &selected
}

// Selects returns a function that says whether the filter selects a port.
func (f *Filter) Selects() func(port uint16) bool {
	selected := f.SelectedPorts()
	return func(port uint16) bool { return selected[port] == 1 }
}

// Sockets selects what the hooks on sockets report. A hook that nothing here needs is not
// loaded.
type Sockets struct {
	// OpenRecords asks for a record when a connection opens.
	OpenRecords bool
	// Drops and Retransmits ask for the counters of the same names.
	Drops, Retransmits bool
	// Handshakes asks for the duration of handshakes whose SYN-ACK was sent again.
	Handshakes bool
	// Accepts asks for the time in the accept queue, which Attribution.Process also gives.
	Accepts bool
	// Overflows asks for the attempts that full accept queues turn away.
	Overflows bool
}

// Failures selects what is reported of attempts that failed.
type Failures struct {
	// FailedRecords asks for a record of each failed attempt; counters are kept anyway.
	FailedRecords bool
	// FailedPerSecond bounds the records of failed attempts; counters are exact.
	FailedPerSecond uint32
	// HalfOpen tracks handshakes that never complete.
	HalfOpen bool
	// HandshakeTimeout is the age at which a half-open attempt has failed.
	HandshakeTimeout time.Duration
}

// Attribution says how a connection's process is found.
type Attribution struct {
	// Process takes the owning process in the kernel.
	Process bool
	// AcceptTracepoint allows the syscall exit tracepoints of accept and accept4 where no
	// better way leads to the accepting process. They slow every system call of the host;
	// docs/performance.md says by how much.
	AcceptTracepoint bool
}

// TCMode says how packet programs attach.
type TCMode string

const (
	TCAuto   TCMode = "auto" // TCX where the kernel has it (6.6), else clsact
	TCX      TCMode = "tcx"
	TCClsact TCMode = "clsact"
	TCOff    TCMode = "off"
)

// Packets says where packets are observed, and which are selected.
type Packets struct {
	// Interface names or globs.
	IncludeInterfaces, ExcludeInterfaces []string
	// NetworkNamespaces are absolute paths or globs of files of further network
	// namespaces. Packets are observed in them while they exist.
	NetworkNamespaces []string
	TCMode            TCMode
	// TCFirst puts our programs before others of the same hook; else after.
	TCFirst bool
	// PacketSampleRate selects one packet in this many; 0 selects none by rate.
	PacketSampleRate uint32
	// PacketClasses selects every packet of these classes.
	PacketClasses []packet.Class
	// PacketsPerSecond bounds the selected packets.
	PacketsPerSecond uint32
}

// Limits bound the kernel's memory.
type Limits struct {
	// MaxConnections is the size of the connections map.
	MaxConnections uint32
	// MaxListeners is the size of the listeners map, and of the map of their ports.
	MaxListeners uint32
	// MaxHalfOpen is the size of the map of handshakes in progress.
	MaxHalfOpen uint32
	// MaxPortCounters is the size of the map of counters per port.
	MaxPortCounters uint32
	// MaxNetworkNamespaces bounds Packets.NetworkNamespaces; those beyond it are left
	// out. Each takes some 270 KiB of the kernel's memory while it exists: docs/limits.md.
	MaxNetworkNamespaces uint32
	// RingBytes is the size of the ring buffer, a power of two of whole pages.
	RingBytes uint32
}
