// SPDX-License-Identifier: Apache-2.0

// Package guard drops packets of blocked sources in the kernel, before the stack sees them.
//
// It owns the maps and the packet program of bpf/guard. Who is blocked, and why, its user
// decides. Everything passes once the user has not renewed the guard's deadline, also if the
// process is stopped or killed.
package guard

import (
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// Options are what a guard is made of.
type Options struct {
	// IncludeInterfaces and ExcludeInterfaces select interfaces, as tc.Selection does.
	IncludeInterfaces, ExcludeInterfaces []string
	// TCMode says where on an interface the program attaches.
	TCMode tc.Mode
	// Forwarded blocks packets to other hosts, too; AllProtocols blocks those that aren't TCP.
	Forwarded, AllProtocols bool
	// IPv6Prefix is how many bits of an IPv6 address tell sources apart, 1 to 128.
	IPv6Prefix int
	// Sources, Networks and Allowed are how many entries there can be at a time.
	Sources, Networks, Allowed int
	// FailOpenAfter is how long blocks hold after a call of Renew.
	FailOpenAfter time.Duration
	// Managers is the registry that the packet programs of this process share.
	Managers *tc.Registry
	Logger   *zap.Logger
}

// Block is what happens to packets of a source or network.
type Block struct {
	// Left is how long the block lasts; not positive: until Remove.
	Left time.Duration
	// DryRun counts packets and lets them pass.
	DryRun bool
	// HasAllowed says that the block contains an allowed address, which the program then
	// looks up for each packet.
	HasAllowed bool
	// Limit is how many packets per second pass; 0 is none.
	Limit uint32
}

// Counts are those of one block since it was put.
type Counts struct {
	// Packets and Bytes were dropped, or would have been in a dry run. Bytes include link
	// headers. A super-packet counts as one.
	Packets, Bytes uint64
	// Passed packets were within the limit, or of an allowed address.
	Passed uint64
	// Idle is how long ago the last packet came; negative if there was none.
	Idle time.Duration
}

// Outcome is why a packet of a blocked source passed.
type Outcome uint8

// The outcomes. Their order is that of enum outcome in bpf/guard/block.h.
const (
	WithinLimit Outcome = iota
	Allowed
	// Open: the deadline had not been renewed.
	Open
	// Outcomes is their number.
	Outcomes
)

// String is the value of an attribute.
func (o Outcome) String() string { return [Outcomes]string{"within_limit", "allowed", "open"}[o] }

// Totals are counts over all blocks, also of those that were removed.
type Totals struct {
	Packets, Bytes [Outcomes]uint64
}

// State is that of the program's hook in one direction, over all interfaces.
type State struct {
	// Hook is the kernel's name, such as tcx/ingress.
	Hook string
	// Attached is set if it is attached to at least one interface.
	Attached bool
	// Err says where attaching failed, and why.
	Err error
}

// source tells whether a prefix is blocked as a single source; else it is a network.
func (o *Options) source(prefix netip.Prefix) bool {
	if prefix.Addr().Is4() {
		return prefix.IsSingleIP()
	}
	return prefix.Bits() == o.IPv6Prefix
}
