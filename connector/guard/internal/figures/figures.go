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
	// NotProven: a model asks alone, and the source may be forged. FewWindows: it was not high for long
	// enough.
	NotProven  blocks.Refusal = "not_proven"
	FewWindows blocks.Refusal = "few_windows"
	// Shared: the source stands for many.
	Shared blocks.Refusal = "shared"
	// ServedWell: what can be forged asks, and the source was served well in the last day, or may have been.
	ServedWell blocks.Refusal = "served_well"
	// Kernel has no room, or refused.
	Kernel blocks.Refusal = "kernel"
)

// Figures are counts since a start.
type Figures struct {
	Records  [RecordOutcomes]uint64
	Refusals map[blocks.Refusal]uint64
	Passed   [guard.Outcomes]uint64
	Delay    points.Histogram
}

// New has all refusals at 0.
func New() Figures {
	refusals := make(map[blocks.Refusal]uint64)
	for _, why := range []blocks.Refusal{
		NoSocketAddress, Spoofable, NoFinding, NotProven, FewWindows, Allowed, Shared, ServedWell, Kernel,
		blocks.NoAddress, blocks.TooWide, blocks.TooMany, blocks.TooFast, blocks.ManyOrigins,
	} {
		refusals[why] = 0
	}
	return Figures{Refusals: refusals}
}

// Write appends the metrics of what was decided and what passed.
func (f *Figures) Write(w *points.Writer) {
	passed := w.Sum("tcp.server.block.passed", "Packets of blocked sources that passed, without those of dry runs.", "{packet}", true)
	for o := range guard.Outcomes {
		w.Point(passed, f.Passed[o], "reason", o.String())
	}
	refusals := w.Sum("tcp.server.block.refusals", "Blocks that were asked for and refused.", "{block}", true)
	for why, n := range f.Refusals {
		w.Point(refusals, n, "tcp.block.refusal", string(why))
	}
	w.Histogram("tcp.server.block.delay", "Time from the last evidence to the block.", "s", &f.Delay)
}
