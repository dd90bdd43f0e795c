// SPDX-License-Identifier: Apache-2.0

// Package figures counts what the guard decides.
package figures

import (
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/points"
	"github.com/ebpftcp/ebpftcpreceiver/internal/guard"
)

// What came of a record.
const (
	Request = iota
	OtherRule
	NothingAsked
	RecordOutcomes
)

// RecordNames are the values of the attribute outcome.
var RecordNames = [RecordOutcomes]string{"request", "other_rule", "nothing_asked"}

// Refusals of the connector, beside those of the table.
const (
	NoSocketAddress blocks.Refusal = "no_socket_address"
	Spoofable       blocks.Refusal = "spoofable"
	Allowed         blocks.Refusal = "allowed"
	// NoFinding: a score asks, and no rule suspects the source.
	NoFinding blocks.Refusal = "no_finding"
	// Shared: the source stands for many.
	Shared blocks.Refusal = "shared"
	// Kernel has no room, or refused.
	Kernel blocks.Refusal = "kernel"
)

// Figures are counts since a start.
type Figures struct {
	Records  [RecordOutcomes]uint64
	Refusals map[blocks.Refusal]uint64
	// Untold are refusals over max_refusals.
	Untold uint64
	Passed [guard.Outcomes]uint64
	Delay  points.Histogram
}

// New has all refusals at 0.
func New() Figures {
	refusals := make(map[blocks.Refusal]uint64)
	for _, why := range []blocks.Refusal{
		NoSocketAddress, Spoofable, NoFinding, Allowed, Shared, Kernel,
		blocks.NoAddress, blocks.TooWide, blocks.TooMany, blocks.TooFast, blocks.ManyOrigins,
	} {
		refusals[why] = 0
	}
	return Figures{Refusals: refusals}
}
