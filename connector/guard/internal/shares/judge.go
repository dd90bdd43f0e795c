// SPDX-License-Identifier: Apache-2.0

package shares

import (
	"net/netip"
	"time"
)

// Why a source stands for many.
type Why string

// The reasons.
const (
	// Alone: nothing exempts it.
	Alone Why = ""
	// LargeShare: it carries more than MaxShare of the completed connections.
	LargeShare Why = "max_share"
	// Served: its connections are served well, far more of them than there is evidence.
	Served Why = "well_served"
	// Carries: it is one of the few through whom most connections come. This does not end.
	Carries Why = "concentrated"
)

// Verdict is what is known of a source.
type Verdict struct {
	Why Why
	// Ended: it would be exempt, but there is too much evidence, or for too long.
	Ended bool
	// Share is its part of the host's completed connections.
	Share float64
	// WellServed and Evidence are those of the window.
	WellServed, Evidence int64
}

// Exempt tells whether it must not be blocked by a rule.
func (v Verdict) Exempt() bool { return v.Why != Alone && !v.Ended }

// source is what is kept of a source. Completed has two counts, from two kinds of records about the
// same connections.
type source struct {
	closed, counted, well, evidence ring
	// opened is since when it has a finding; 0 without one.
	opened time.Duration
}

// Judge knows the shares of a host's sources. It belongs to one goroutine.
type Judge struct {
	set     Settings
	sources map[netip.Prefix]*source
	closed  ring
	counted ring
	errors  *errorSet
	served  *servedSet
	// began is since when records come without a pause, last when the latest came; 0 without any.
	began, last time.Duration
	// crowd is the latest result of Concentrated, and checked its slot.
	crowd   Crowd
	checked int64
	// Displaced counts sources that others displaced.
	Displaced uint64
}

// New makes a judge that knows nothing.
func New(set Settings) *Judge {
	return &Judge{set: set, sources: map[netip.Prefix]*source{}, errors: newErrorSet(set.Errors), served: newServedSet(set.Served), checked: -1}
}

// Len is the number of sources that are known.
func (j *Judge) Len() int { return len(j.sources) }

func (j *Judge) slot(now time.Duration) int64 { return int64(now / (j.set.Window / slots)) }

// key is what stands for one source.
func (j *Judge) key(p netip.Prefix) netip.Prefix {
	if p.Addr().Is6() && p.Bits() > j.set.IPv6Prefix {
		return netip.PrefixFrom(p.Addr(), j.set.IPv6Prefix).Masked()
	}
	return p.Masked()
}

// Seen notes that records of the receiver come. An idle host has none about connections, but may
// have some about its listeners.
func (j *Judge) Seen(now time.Duration) {
	if j.began == 0 || now-j.last > j.set.Window {
		j.began = now
	}
	j.last = now
}

// Ready tells whether a whole window of records was seen, up to now. Until then, no rule may block.
func (j *Judge) Ready(now time.Duration) bool {
	return j.began > 0 && now-j.last <= j.set.Window && now-j.began >= j.set.Window
}

// Add takes a record.
func (j *Judge) Add(r *Record, now time.Duration) {
	slot := j.slot(now)
	switch r.Event {
	case Answered:
		if r.Error && r.Connection != 0 {
			j.errors.add(r.Connection, slot)
		}
		return
	case Counted:
		j.counted.add(r.Completed, slot)
		if r.Source.IsValid() && r.Completed > 0 {
			j.of(j.key(r.Source), slot).counted.add(r.Completed, slot)
		}
	case Closed:
		j.closed.add(1, slot)
		key := j.key(r.Source)
		s := j.of(key, slot)
		s.closed.add(1, slot)
		if r.Served && !j.errors.has(r.Connection, slot) {
			s.well.add(1, slot)
			j.served.add(key, now)
		}
	default:
		return
	}
	j.Seen(now)
}

// Evidence notes how much more there is against a source.
func (j *Judge) Evidence(about netip.Prefix, n int64, now time.Duration) {
	key, slot := j.key(about), j.slot(now)
	j.of(key, slot).evidence.add(max(n, 1), slot)
	j.accuse(key, max(n, 1))
}

// Opened notes since when a source has a finding.
func (j *Judge) Opened(about netip.Prefix, since, now time.Duration) {
	s := j.of(j.key(about), j.slot(now))
	if s.opened == 0 || since < s.opened {
		s.opened = max(since, 1)
	}
}

// Ended notes that the last finding about a source has ended.
func (j *Judge) Ended(about netip.Prefix) {
	if s := j.sources[j.key(about)]; s != nil {
		s.opened = 0
	}
}

// Judge tells whether a source stands for many.
func (j *Judge) Judge(about netip.Prefix, now time.Duration) Verdict {
	key := j.key(about)
	s := j.sources[key]
	if s == nil {
		return Verdict{}
	}
	slot := j.slot(now)
	v := Verdict{Share: j.share(s, slot), WellServed: s.well.total(slot), Evidence: s.evidence.total(slot)}
	switch {
	case j.carries(key, now):
		v.Why = Carries
		return v
	case v.Share > j.set.MaxShare:
		v.Why = LargeShare
	case v.WellServed >= j.set.WellServed && v.WellServed >= j.set.Ratio*v.Evidence:
		v.Why = Served
	}
	v.Ended = v.Why != Alone && (v.Evidence >= j.set.MaxEvidence || s.opened > 0 && now-s.opened >= j.set.MaxOpen)
	return v
}

// share is a source's part of the completed connections, by whichever records show the most.
func (j *Judge) share(s *source, slot int64) float64 {
	return max(
		j.part(s.closed.total(slot), j.closed.total(slot)),
		j.part(s.counted.total(slot), j.counted.total(slot)),
	)
}

func (j *Judge) part(n, of int64) float64 {
	if of < j.set.Least {
		return 0
	}
	return float64(n) / float64(of)
}

// ServedWell tells whether a source had a connection that was served well in the last 24 hours. It
// may have had one if there was no room to remember them all, or if the judge is younger and no
// snapshot was restored.
func (j *Judge) ServedWell(about netip.Prefix, now time.Duration) bool {
	return j.served.has(j.key(about), now)
}

// tries is how many sources are compared to find one that matters little.
const tries = 8

// of returns what is kept of a source. A new one displaces the least of some others. It inherits
// nothing, for what it did not do must not exempt it.
func (j *Judge) of(key netip.Prefix, slot int64) *source {
	if s := j.sources[key]; s != nil {
		return s
	}
	if len(j.sources) >= j.set.Sources {
		j.displace(slot)
	}
	s := &source{}
	for _, r := range []*ring{&s.closed, &s.counted, &s.well, &s.evidence} {
		r.newest = slot
	}
	j.sources[key] = s
	return s
}

func (j *Judge) displace(slot int64) {
	var least netip.Prefix
	fewest, seen := int64(-1), 0
	// The order of a map is random enough.
	for key, s := range j.sources {
		weight := max(s.closed.total(slot), s.counted.total(slot)) + s.evidence.total(slot)
		if s.opened > 0 {
			// Since when it has a finding is not to be forgotten.
			weight += j.set.MaxEvidence
		}
		if fewest < 0 || weight < fewest {
			least, fewest = key, weight
		}
		if seen++; seen >= tries || fewest == 0 {
			break
		}
	}
	delete(j.sources, least)
	j.Displaced++
}

// Tick forgets sources that did nothing within a window.
func (j *Judge) Tick(now time.Duration) {
	slot := j.slot(now)
	for key, s := range j.sources {
		if s.opened == 0 && s.closed.total(slot)+s.counted.total(slot)+s.evidence.total(slot) == 0 {
			delete(j.sources, key)
		}
	}
	j.served.turn(now)
}
