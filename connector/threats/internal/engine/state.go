// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
)

// Totals are counts for the internal metrics.
type Totals struct {
	Sources, Sightings, Services, Identities, Open int
	// Displaced are entries of sources that had to make room, by whether they were worth keeping.
	Displaced [2]uint64
	// DisplacedIdentities are users and tokens that had to make room.
	DisplacedIdentities [2]uint64
	// DisplacedFindings were open.
	DisplacedFindings uint64
	// Begun, Suppressed and Excepted are findings of each rule.
	Begun, Suppressed, Excepted [catalogue.Rules]uint64
}

// Totals returns the counts.
func (e *Engine) Totals() Totals {
	t := Totals{
		Sources: e.Sources.Len(), Sightings: e.sightings.Len(), Services: e.services.Len(), Identities: e.Identities.Len(), Open: e.Book.Len(),
		DisplacedIdentities: e.Identities.Evicted, DisplacedFindings: e.Book.Displaced(), Excepted: e.excepted,
	}
	for kept := range t.Displaced {
		t.Displaced[kept] = e.Sources.Evicted[kept] + e.sightings.Evicted[kept]
	}
	copy(t.Begun[:], e.Book.Begun)
	copy(t.Suppressed[:], e.Book.Suppressed)
	return t
}

// State is what outlives a restart.
type State struct {
	Key        uint64
	Clock      int64
	Sources    []SavedSource
	Sights     []SavedSighting
	Services   []SavedService
	Identities []SavedIdentity
	Findings   []finding.Saved
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

// SavedIdentity is a user or token, and its hash with the state's key.
type SavedIdentity struct {
	Hash     uint64
	Identity evidence.Identity
}

// Save copies the state. Sources without evidence are left out: they only make the state large.
func (e *Engine) Save() *State {
	s := &State{Key: e.Config.Key, Clock: e.clock, Findings: e.Book.Save()}
	for key, source := range e.Sources.All() {
		if source.HasEvidence() {
			s.Sources = append(s.Sources, SavedSource{key, source.Clone()})
		}
	}
	for at, sighting := range e.sightings.All() {
		s.Sights = append(s.Sights, SavedSighting{at.key, at.host, *sighting})
	}
	for at, service := range e.services.All() {
		s.Services = append(s.Services, SavedService{at.host, at.port, service.Clone()})
	}
	for hash, identity := range e.Identities.All() {
		s.Identities = append(s.Identities, SavedIdentity{hash, identity.Clone()})
	}
	return s
}

// Restore puts the state of an engine with the same key into one without state.
func (e *Engine) Restore(s *State) {
	e.clock = max(e.clock, s.Clock)
	for i := range s.Sources {
		if key := s.Sources[i].Key; e.Sources.Get(key) == nil {
			*e.Sources.Add(key) = s.Sources[i].Source
			if s.Sources[i].Source.WorthKeeping() {
				e.Sources.Keep(key)
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
	for i := range s.Identities {
		if hash := s.Identities[i].Hash; e.Identities.Get(hash) == nil {
			*e.Identities.Add(hash) = s.Identities[i].Identity
			if s.Identities[i].Identity.WorthKeeping() {
				e.Identities.Keep(hash)
			}
		}
	}
	e.Book.Restore(s.Findings)
}
