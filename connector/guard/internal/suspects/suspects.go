// SPDX-License-Identifier: Apache-2.0

// Package suspects knows which sources have an open finding of a rule that needs no forged
// address. A score decides among them, and makes none.
package suspects

import (
	"net/netip"
	"strings"
	"time"
)

// keepFor is how long a finding counts that neither grew nor ended: its end can have been lost.
const keepFor = 24 * time.Hour

// Names of rules that are scores: of the connector for threats itself, and of models.
const (
	anomaly = "anomaly"
	models  = "model/"
)

// IsScore tells whether a rule is a score.
func IsScore(rule string) bool { return rule == anomaly || strings.HasPrefix(rule, models) }

// Model is the name of the model whose score a rule is; false if it is none.
func Model(rule string) (string, bool) { return strings.CutPrefix(rule, models) }

// finding is one rule's of a source.
type finding struct {
	source netip.Prefix
	rule   string
}

// seen is when the last record of a finding came, since boot, and with how much evidence.
type seen struct {
	at       time.Duration
	evidence uint64
}

// Set is bounded: what is over the limit is no suspect, so that a score blocks less and never
// more. It is not safe for concurrent use.
type Set struct {
	limit int
	// open has the last record of each finding. sources counts the findings of a source.
	open    map[finding]seen
	sources map[netip.Prefix]int
}

// New makes a set of at most limit findings.
func New(limit int) *Set {
	return &Set{limit: limit, open: make(map[finding]seen), sources: make(map[netip.Prefix]int)}
}

// Open notes that a finding of a source began or grew, and returns how much evidence is new. Scores
// are no findings. Of what it has no room for, nothing is new.
func (s *Set) Open(source netip.Prefix, rule string, evidence uint64, now time.Duration) (more uint64) {
	f := finding{source, rule}
	if IsScore(rule) {
		return 0
	}
	before, known := s.open[f]
	if !known {
		if len(s.open) >= s.limit {
			return 0
		}
		s.sources[source]++
	}
	all := max(before.evidence, evidence)
	s.open[f] = seen{now, all}
	return all - before.evidence
}

// Ended notes that a finding is over; true if it was the last of its source.
func (s *Set) Ended(source netip.Prefix, rule string) (last bool) {
	f := finding{source, rule}
	if _, known := s.open[f]; !known {
		return false
	}
	delete(s.open, f)
	if s.sources[source]--; s.sources[source] > 0 {
		return false
	}
	delete(s.sources, source)
	return true
}

// Has tells whether a source has an open finding.
func (s *Set) Has(source netip.Prefix) bool { return s.sources[source] > 0 }

// Tick forgets findings without a record for too long. Cleared gets the sources that have no other.
func (s *Set) Tick(now time.Duration, cleared func(netip.Prefix)) {
	for f, last := range s.open {
		if now-last.at > keepFor && s.Ended(f.source, f.rule) {
			cleared(f.source)
		}
	}
}
