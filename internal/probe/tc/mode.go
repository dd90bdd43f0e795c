// SPDX-License-Identifier: Apache-2.0

// Package tc attaches packet programs to the interfaces of a network namespace.
//
// A Manager serves all programs of this process in one namespace. It selects interfaces and
// follows them as they come, go and change their names. It keeps the programs in their
// order, beside programs of others. It puts back what another process removed, and it
// removes the filters of our dead processes.
package tc

import "github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc/attach"

// Mode says where on an interface a program attaches.
type Mode string

const (
	// Auto is TCX where the kernel has it (6.6), else clsact. A later program of a process
	// attaches where the earlier ones did, so that their order holds.
	Auto   Mode = "auto"
	TCX    Mode = "tcx"
	Clsact Mode = "clsact"
	Off    Mode = "off"
)

// Direction is one of the two places on an interface.
type Direction = attach.Direction

const (
	Ingress = attach.Ingress
	Egress  = attach.Egress
	// Directions is their number.
	Directions = attach.Directions
)

// Hook is the kernel's name of a hook, such as tcx/ingress. Until Auto is decided, it
// begins with tc.
func (m Mode) Hook(d Direction) string {
	if m != TCX && m != Clsact {
		m = "tc"
	}
	return string(m) + "/" + d.String()
}
