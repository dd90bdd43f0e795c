// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"fmt"
	"strings"
)

// Capability is one of Linux's capabilities, by its number there.
type Capability uint8

// The capabilities that anything here needs, as in linux/capability.h.
const (
	CapDACReadSearch Capability = 2
	CapNetAdmin      Capability = 12
	CapSysPtrace     Capability = 19
	CapSysAdmin      Capability = 21
	CapSysResource   Capability = 24
	CapPerfmon       Capability = 38
	CapBPF           Capability = 39
)

// String is the name that people know, such as CAP_BPF.
func (c Capability) String() string {
	switch c {
	case CapDACReadSearch:
		return "CAP_DAC_READ_SEARCH"
	case CapNetAdmin:
		return "CAP_NET_ADMIN"
	case CapSysPtrace:
		return "CAP_SYS_PTRACE"
	case CapSysAdmin:
		return "CAP_SYS_ADMIN"
	case CapSysResource:
		return "CAP_SYS_RESOURCE"
	case CapPerfmon:
		return "CAP_PERFMON"
	case CapBPF:
		return "CAP_BPF"
	default:
		return fmt.Sprintf("capability %d", uint8(c))
	}
}

// CapabilityUse is what a capability is for.
type CapabilityUse struct {
	Capability
	// Required capabilities are all that a host needs to give; without the others
	// something is missing that is said at start.
	Required bool
	// Gives is what is lost without it.
	Gives string
}

// CapabilityUses lists every capability that has a use here, the required ones first.
func CapabilityUses() []CapabilityUse {
	return []CapabilityUse{
		{CapBPF, true, "everything: maps and programs"},
		{CapPerfmon, true, "everything: programs that read the kernel's memory"},
		{CapNetAdmin, true, "packets: programs on interfaces"},
		{CapSysPtrace, false, "with CAP_SYS_ADMIN: connections of other network namespaces that were open before and that no process holds; " +
			"the executable's path, not only its name, of a process that was seen by its pid alone"},
		{CapSysAdmin, false, "interfaces.network_namespaces; with CAP_SYS_PTRACE: the same connections; kprobes and syscall " +
			"tracepoints where kernel.perf_event_paranoid is 3 or more and the kernel is Debian's"},
		{CapDACReadSearch, false, "syscall tracepoints as another user than root: their numbers are in tracefs, which is root's"},
		{CapSysResource, false, "before Linux 5.11: maps beyond RLIMIT_MEMLOCK, where the service manager does not raise it"},
	}
}

// required are the capabilities that nothing useful works without.
func required() []Capability {
	var all []Capability
	for _, use := range CapabilityUses() {
		if use.Required {
			all = append(all, use.Capability)
		}
	}
	return all
}

// Capabilities is a set, as the kernel has it: bit n is capability n.
type Capabilities uint64

// Has tells whether the set has a capability.
func (s Capabilities) Has(c Capability) bool { return s&(1<<c) != 0 }

// allows: CAP_SYS_ADMIN stands in for the two that were split off it in 5.8.
func (s Capabilities) allows(c Capability) bool {
	return s.Has(c) || (c == CapBPF || c == CapPerfmon) && s.Has(CapSysAdmin)
}

func (s Capabilities) lacking(needs []Capability) []Capability {
	var lacking []Capability
	for _, need := range needs {
		if !s.allows(need) {
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
