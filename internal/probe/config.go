// SPDX-License-Identifier: Apache-2.0

// Package probe is the face of the kernel side: a Probe loads and attaches the BPF programs
// of bpf/, and reports what they find as facts. The rooms below are the only packages that
// touch the kernel.
package probe

import "github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"

// What a caller configures.
type (
	// Config is what the kernel side has to know.
	Config = settings.Config
	// Filter selects connections.
	Filter = settings.Filter
	// PortRange is inclusive at both ends.
	PortRange = settings.PortRange
	// Sockets selects what the hooks on sockets report.
	Sockets = settings.Sockets
	// Failures selects what is reported of attempts that failed.
	Failures = settings.Failures
	// Attribution says how a connection's process is found.
	Attribution = settings.Attribution
	// Packets says where packets are observed, and which are selected.
	Packets = settings.Packets
	// Inspect says what is looked for inside packets.
	Inspect = settings.Inspect
	// Sources says what is counted per source.
	Sources = settings.Sources
	// Limits bound the kernel's memory.
	Limits = settings.Limits
	// Scope says in which network namespaces sockets are observed.
	Scope = settings.Scope
	// TCMode says how packet programs attach.
	TCMode = settings.TCMode
)

// Scopes.
const (
	ScopeAll           = settings.ScopeAll
	ScopeHost          = settings.ScopeHost
	ScopeInitialUserNS = settings.ScopeInitialUserNS
)

// Modes of attaching packet programs.
const (
	TCAuto   = settings.TCAuto
	TCX      = settings.TCX
	TCClsact = settings.TCClsact
	TCOff    = settings.TCOff
)
