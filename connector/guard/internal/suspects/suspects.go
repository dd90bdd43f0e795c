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

// finding is one rule's of a source.
type finding struct {
	source netip.Prefix
	rule   string
}

// Set is bounded: what is over the limit is no suspect, so that a score blocks less and never
// more. It is not safe for concurrent use.
type Set struct {
	limit int
	// open has when each finding was told last, since boot. sources counts those of a source.
	open    map[finding]time.Duration
	sources map[netip.Prefix]int
}

// New makes a set of at most limit findings.
func New(limit int) *Set {
	return &Set{limit: limit, open: make(map[finding]time.Duration), sources: make(map[netip.Prefix]int)}
}

// Open notes that a finding of a source began or grew. Scores are no findings.
func (s *Set) Open(source netip.Prefix, rule string, now time.Duration) {
	f := finding{source, rule}
	if IsScore(rule) {
		return
	}
	if _, known := s.open[f]; !known {
		if len(s.open) >= s.limit {
			return
		}
		s.sources[source]++
	}
	s.open[f] = now
}

// Ended notes that a finding is over.
func (s *Set) Ended(source netip.Prefix, rule string) {
	f := finding{source, rule}
	if _, known := s.open[f]; !known {
		return
	}
	delete(s.open, f)
	if s.sources[source]--; s.sources[source] == 0 {
		delete(s.sources, source)
	}
}

// Has tells whether a source has an open finding.
func (s *Set) Has(source netip.Prefix) bool { return s.sources[source] > 0 }

// Tick forgets findings that were told too long ago.
func (s *Set) Tick(now time.Duration) {
	for f, told := range s.open {
		if now-told > keepFor {
			s.Ended(f.source, f.rule)
		}
	}
}
