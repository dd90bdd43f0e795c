// SPDX-License-Identifier: Apache-2.0

package connection

// PortCounter counts one thing at one local port since the probe started.
type PortCounter struct {
	NetNS uint32
	// Port is 0 where no listener exists.
	Port uint16
	IPv4 bool
	What PortCount
	// Detail is the drop reason's name in lower case, or the failure type, or "".
	Detail string
	Value  uint64
	// Final is set if the counter ends here. The next one with this key begins at 0.
	Final bool
}

// PortCount is what a PortCounter counts.
type PortCount uint8

// Values match enum port_count in bpf/lib/values.h.
const (
	Retransmits PortCount = iota
	SYNACKRetransmits
	ResetsSent
	ResetsReceived
	Drops
	Failures
	Opens
	// SYNs are those to a port that listens, while sources are counted.
	SYNs
)
