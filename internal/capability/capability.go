// SPDX-License-Identifier: Apache-2.0

// Package capability knows what this process may do: the capabilities that it has, what each
// is for here, and why the kernel refused an operation.
package capability

import (
	"fmt"
	"strings"
)

// Capability is one of Linux's capabilities, by its number there.
type Capability uint8

// The capabilities that have a use here, numbered as in linux/capability.h.
const (
	DACReadSearch Capability = 2
	NetAdmin      Capability = 12
	SysPtrace     Capability = 19
	SysAdmin      Capability = 21
	SysResource   Capability = 24
	Perfmon       Capability = 38
	BPF           Capability = 39
)

// String is the usual name, such as CAP_BPF.
func (c Capability) String() string {
	switch c {
	case DACReadSearch:
		return "CAP_DAC_READ_SEARCH"
	case NetAdmin:
		return "CAP_NET_ADMIN"
	case SysPtrace:
		return "CAP_SYS_PTRACE"
	case SysAdmin:
		return "CAP_SYS_ADMIN"
	case SysResource:
		return "CAP_SYS_RESOURCE"
	case Perfmon:
		return "CAP_PERFMON"
	case BPF:
		return "CAP_BPF"
	default:
		return fmt.Sprintf("capability %d", uint8(c))
	}
}

// Use says what a capability is for.
type Use struct {
	Capability
	// Required capabilities are enough on most hosts. What the others add is reported
	// at start where it is missing.
	Required bool
	// Gives is what is missing without it.
	Gives string
}

// Uses lists every capability with a use here, the required ones first.
func Uses() []Use {
	return []Use{
		{BPF, true, "everything: maps and programs"},
		{Perfmon, true, "everything: programs that read the kernel's memory"},
		{NetAdmin, true, "packets: programs on interfaces"},
		{SysPtrace, false, "with CAP_SYS_ADMIN: connections of other network namespaces that were open before and that no process holds; " +
			"the executable's path, not only its name, of a process that was seen by its pid alone; " +
			"clients of ssh sessions, which the guard never blocks"},
		{SysAdmin, false, "interfaces.network_namespaces; with CAP_SYS_PTRACE: the same connections; kprobes and syscall " +
			"tracepoints where kernel.perf_event_paranoid is 3 or more and the kernel is Debian's"},
		{DACReadSearch, false, "syscall tracepoints as another user than root: their numbers are in tracefs, which is root's"},
		{SysResource, false, "before Linux 5.11: maps beyond RLIMIT_MEMLOCK, where the service manager does not raise it"},
	}
}

// Required returns the capabilities without which nothing useful works.
func Required() []Capability {
	var all []Capability
	for _, use := range Uses() {
		if use.Required {
			all = append(all, use.Capability)
		}
	}
	return all
}

// Set is a set of capabilities as the kernel writes it: bit n is capability n.
type Set uint64

// Has reports whether the set contains a capability.
func (s Set) Has(c Capability) bool { return s&(1<<c) != 0 }

// Allows is Has, but CAP_SYS_ADMIN includes the two that Linux 5.8 split off it.
func (s Set) Allows(c Capability) bool {
	return s.Has(c) || (c == BPF || c == Perfmon) && s.Has(SysAdmin)
}

func (s Set) lacking(needs []Capability) []Capability {
	var lacking []Capability
	for _, need := range needs {
		if !s.Allows(need) {
			lacking = append(lacking, need)
		}
	}
	return lacking
}

// enumerate is "A", "A and B" or "A, B and C".
func enumerate(capabilities []Capability) string {
	names := make([]string, len(capabilities))
	for i, c := range capabilities {
		names[i] = c.String()
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
