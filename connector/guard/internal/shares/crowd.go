// SPDX-License-Identifier: Apache-2.0

package shares

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Carrier is an address through which many come.
type Carrier struct {
	Source netip.Prefix
	Share  float64
}

// Crowd says through whom the host's connections come.
type Crowd struct {
	// Concentrated: Most of the connections come through Few addresses, and there is evidence against
	// one of those. So an attacker hides among many, and no block of them can be right. Without
	// evidence they may as well be the only clients that the host has.
	Concentrated bool
	// Carriers are those few, the greatest first. Share is what they carry together.
	Carriers []Carrier
	Share    float64
}

// Concentrated tells through whom most connections come. A source with much evidence, as a part of
// what was served well, carries nobody: otherwise one loud attacker could make itself untouchable.
// It looks once for each slot of the window.
func (j *Judge) Concentrated(now time.Duration) Crowd {
	slot := j.slot(now)
	if slot == j.checked {
		return j.crowd
	}
	j.checked = slot
	var carriers []Carrier
	for key, s := range j.sources {
		if share := j.share(s, slot); share > 0 && j.benign(s, slot) {
			carriers = append(carriers, Carrier{key, share})
		}
	}
	slices.SortFunc(carriers, func(a, b Carrier) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), a.Source.Addr().Compare(b.Source.Addr()))
	})
	j.crowd = Crowd{}
	for _, c := range carriers[:min(len(carriers), j.set.Few)] {
		if j.crowd.Share >= j.set.Most {
			break
		}
		j.crowd.Carriers = append(j.crowd.Carriers, c)
		j.crowd.Share += c.Share
	}
	for _, c := range j.crowd.Carriers {
		j.accuse(c.Source, j.sources[c.Source].evidence.total(slot))
	}
	return j.crowd
}

// accuse notes that there is evidence against a source.
func (j *Judge) accuse(key netip.Prefix, evidence int64) {
	if evidence > 0 && j.crowd.Share >= j.set.Most && j.crowd.has(key) {
		j.crowd.Concentrated = true
	}
}

func (c *Crowd) has(key netip.Prefix) bool {
	return slices.ContainsFunc(c.Carriers, func(c Carrier) bool { return c.Source == key })
}

// carries tells whether a source is one of the few through whom most connections come.
func (j *Judge) carries(key netip.Prefix, now time.Duration) bool {
	crowd := j.Concentrated(now)
	return crowd.Concentrated && crowd.has(key)
}

// benign: what is known of how its connections were served outweighs the evidence.
func (j *Judge) benign(s *source, slot int64) bool {
	evidence := s.evidence.total(slot)
	if s.closed.total(slot) == 0 {
		// Only counts are known of it, which don't tell how a connection was served.
		return s.counted.total(slot) >= j.set.Ratio*evidence
	}
	well := s.well.total(slot)
	return well >= j.set.WellServed && well >= j.set.Ratio*evidence
}

// errorSet has the connections with an answer of 4xx or 5xx, for one window or two. Those that
// have no room count as served well: then there is evidence of them, too.
type errorSet struct {
	limit           int
	current, before map[uint64]struct{}
	window          int64
}

func newErrorSet(limit int) *errorSet {
	return &errorSet{limit: max(limit/2, 1), current: map[uint64]struct{}{}}
}

func (e *errorSet) turn(slot int64) {
	window := slot / slots
	if window <= e.window {
		return
	}
	e.before = e.current
	if window > e.window+1 {
		e.before = nil
	}
	e.current, e.window = map[uint64]struct{}{}, window
}

func (e *errorSet) add(connection uint64, slot int64) {
	e.turn(slot)
	if len(e.current) < e.limit {
		e.current[connection] = struct{}{}
	}
}

func (e *errorSet) has(connection uint64, slot int64) bool {
	e.turn(slot)
	_, now := e.current[connection]
	_, before := e.before[connection]
	return now || before
}

// servedSet has the sources that were served well in the last day, or in the last two. A full set
// has all: those without room may have been served, and so may all on the day before it began.
type servedSet struct {
	limit           int
	current, before map[netip.Prefix]struct{}
	full, wasFull   bool
	began           time.Duration
}

// memory is how long it is remembered that a source was served well.
const memory = 24 * time.Hour

// newServedSet makes one that doesn't know the day before.
func newServedSet(limit int) *servedSet {
	return &servedSet{limit: max(limit/2, 1), current: map[netip.Prefix]struct{}{}, wasFull: true}
}

func (s *servedSet) turn(now time.Duration) {
	if s.began == 0 {
		s.began = max(now, 1)
	}
	for range 2 {
		if now-s.began < memory {
			return
		}
		s.before, s.wasFull = s.current, s.full
		s.current, s.full = map[netip.Prefix]struct{}{}, false
		s.began += memory
	}
	s.began = max(s.began, now-memory+1)
}

func (s *servedSet) add(key netip.Prefix, now time.Duration) {
	s.turn(now)
	if _, known := s.current[key]; known {
		return
	}
	if len(s.current) >= s.limit {
		s.full = true
		return
	}
	s.current[key] = struct{}{}
}

func (s *servedSet) has(key netip.Prefix, now time.Duration) bool {
	s.turn(now)
	if s.full || s.wasFull {
		return true
	}
	_, today := s.current[key]
	_, before := s.before[key]
	return today || before
}
