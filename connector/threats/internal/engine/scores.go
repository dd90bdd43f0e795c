// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
)

// Watch sees what vectors are made of, and judges nothing.
type Watch func(m *Moment)

// Events are those that it wants.
func (Watch) Events() []reading.Event {
	return []reading.Event{reading.Source, reading.ConnectionClose}
}

// Judge shows it a record.
func (w Watch) Judge(m *Moment) { w(m) }

// Suspect tells whether a rule has an open finding about a source. Scores are no rules.
func (e *Engine) Suspect(key evidence.Key) bool {
	about := finding.Subject{Hi: key.Hi, Lo: key.Lo, Scope: key.Scope}
	for rule := range catalogue.Anomaly {
		about.Rule = uint8(rule)
		if e.Book.IsOpen(about) {
			return true
		}
	}
	return false
}

// Score notes a score of a source on a host. A model's is reported when it has more windows in a row
// than any report of the finding had.
func (e *Engine) Score(rule catalogue.ID, key evidence.Key, host uint64, f *finding.Finding) {
	about := finding.Subject{Rule: uint8(rule), Hi: key.Hi, Lo: key.Lo, Scope: key.Scope, Host: host}
	more := false
	if rule == catalogue.Model {
		f.Score.Windows, more = e.Book.InARow(about, f)
	}
	if (e.Book.Due(about, f.Count, f.Last) || more) && !e.Excepts(rule, f.Source) {
		e.Book.Report(about, f)
	}
}

// Late notes evidence that was judged after its record, by a rule about payloads.
func (e *Engine) Late(about finding.Subject, f *finding.Finding) {
	f.Count = 1
	if source := e.Sources.Get(evidence.Key{Hi: about.Hi, Lo: about.Lo, Scope: about.Scope}); source != nil {
		source.Payloads++
		f.Count = source.Payloads
	}
	f.Facts = append(f.Facts, finding.Fact{Key: catalogue.FactRequests, Value: float64(f.Count)})
	if e.Book.Due(about, f.Count, f.Last) && !e.Excepts(catalogue.ID(about.Rule), f.Source) {
		e.Book.Report(about, f)
	}
}
