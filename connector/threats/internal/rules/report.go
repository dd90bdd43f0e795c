// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
)

// about is the subject of a rule's finding about the record's source.
func (m *Moment) about(rule catalogue.ID) finding.Subject {
	return finding.Subject{Rule: uint8(rule), Hi: m.Key.Hi, Lo: m.Key.Lo, Scope: m.Key.Scope}
}

// due notes evidence. It reports whether a finding must be told.
func (m *Moment) due(about finding.Subject, count uint64) bool {
	return m.book.Due(about, count, m.Now) && !m.excepts(catalogue.ID(about.Rule), m.Client)
}

// excepts tells whether an exception silences a finding, and counts it.
func (e *Engine) excepts(rule catalogue.ID, addr netip.Addr) bool {
	for _, p := range e.except[rule] {
		if p.Contains(addr) {
			e.excepted[rule]++
			return true
		}
	}
	return false
}

// finding makes what is common to findings about a source.
func (m *Moment) finding(rule catalogue.ID, count uint64, first int64) *finding.Finding {
	f := &finding.Finding{
		At: m.Now, First: min(first, m.Now), Last: m.Now, Count: count,
		Confidence: 1, Spoofable: catalogue.All[rule].Spoofable,
		Source: m.Client, Prefix: m.prefixOf(m.Client),
	}
	if m.Peer.IsValid() && m.Peer != m.Client {
		f.Peer = m.Peer
	}
	if m.Host != "" {
		f.Hosts = []string{strings.Clone(m.Host)}
	}
	return f
}

// at adds the record's service to a finding.
func (m *Moment) at(f *finding.Finding) *finding.Finding {
	f.Server, f.Port, f.Process = m.Server, m.Port, strings.Clone(m.Process)
	return f
}

// report tells of a finding about the record's source, and keeps what is known of the source.
func (m *Moment) report(about finding.Subject, f *finding.Finding) {
	m.sources.Keep(m.Key)
	if hosts := m.Source; hosts != nil && len(hosts.Hosts) > 0 && catalogue.ID(about.Rule) == catalogue.PortScan {
		f.Hosts = slices.Clone(hosts.Hosts)
	}
	m.book.Report(about, f)
}

// ended tells the detectors that a finding is over.
func (e *Engine) ended(about finding.Subject) {
	for _, d := range e.detectors {
		if d, ok := d.(ender); ok {
			d.ended(about)
		}
	}
}

// Totals are counts for the internal metrics.
type Totals struct {
	Sources, Sightings, Services, Open int
	// Displaced are entries of sources that had to make room, by whether they were worth keeping.
	Displaced [2]uint64
	// DisplacedFindings were open.
	DisplacedFindings uint64
	// Begun, Suppressed and Excepted are findings of each rule.
	Begun, Suppressed, Excepted [catalogue.Rules]uint64
}

// Totals returns the counts.
func (e *Engine) Totals() Totals {
	t := Totals{
		Sources: e.sources.Len(), Sightings: e.sightings.Len(), Services: e.services.Len(), Open: e.book.Len(),
		DisplacedFindings: e.book.Displaced(), Excepted: e.excepted,
	}
	for kept := range t.Displaced {
		t.Displaced[kept] = e.sources.Evicted[kept] + e.sightings.Evicted[kept]
	}
	copy(t.Begun[:], e.book.Begun)
	copy(t.Suppressed[:], e.book.Suppressed)
	return t
}

// State is what outlives a restart.
type State struct {
	Key      uint64
	Clock    int64
	Sources  []SavedSource
	Sights   []SavedSighting
	Services []SavedService
	Findings []finding.Saved
}

// SavedSource is a source and its key.
type SavedSource struct {
	Key    evidence.Key
	Source evidence.Source
}

// SavedSighting is a sighting and its key.
type SavedSighting struct {
	Key      evidence.Key
	Host     uint64
	Sighting evidence.Sighting
}

// SavedService is a service and its key.
type SavedService struct {
	Host    uint64
	Port    uint16
	Service evidence.Service
}

// Save copies the state. Sources without evidence are left out: they only make the state large.
func (e *Engine) Save() *State {
	s := &State{Key: e.cfg.Key, Clock: e.clock, Findings: e.book.Save()}
	for key, source := range e.sources.All() {
		if source.HasEvidence() {
			s.Sources = append(s.Sources, SavedSource{key, source.Clone()})
		}
	}
	for at, sighting := range e.sightings.All() {
		s.Sights = append(s.Sights, SavedSighting{at.key, at.host, *sighting})
	}
	for at, service := range e.services.All() {
		s.Services = append(s.Services, SavedService{at.host, at.port, *service})
	}
	return s
}

// Restore puts the state of an engine with the same key into one without state.
func (e *Engine) Restore(s *State) {
	e.clock = max(e.clock, s.Clock)
	for i := range s.Sources {
		if key := s.Sources[i].Key; e.sources.Get(key) == nil {
			*e.sources.Add(key) = s.Sources[i].Source
			if s.Sources[i].Source.WorthKeeping() {
				e.sources.Keep(key)
			}
		}
	}
	for i := range s.Sights {
		if at := (place{s.Sights[i].Key, s.Sights[i].Host}); e.sightings.Get(at) == nil {
			*e.sightings.Add(at) = s.Sights[i].Sighting
			e.sightings.Keep(at)
		}
	}
	for i := range s.Services {
		if at := (serviceKey{s.Services[i].Host, s.Services[i].Port}); e.services.Get(at) == nil {
			*e.services.Add(at) = s.Services[i].Service
		}
	}
	e.book.Restore(s.Findings)
}
