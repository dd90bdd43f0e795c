// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"net/netip"
	"slices"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
)

// set is a number of sources that scan together.
type set struct {
	id   uint64
	few  []uint32
	seen map[evidence.Key]bool
	f    finding.Finding
}

// maxSets is how many sets can grow, maxMembers how many of their sources are told apart.
const (
	maxSets    = 64
	maxMembers = 1024
)

func (s *set) about() finding.Subject {
	return finding.Subject{Rule: uint8(catalogue.DistributedScan), Service: s.id}
}

// found tells of a set of scanners that are alike. Any of them may be forged.
func (s *scans) found(alike []waiting) {
	first := &alike[0]
	id := reading.Mix(first.key.Hi ^ reading.Mix(first.key.Lo^uint64(first.since)))
	one := set{id: id, few: first.few, seen: map[evidence.Key]bool{}, f: *first.f}
	one.f.Confidence = catalogue.All[catalogue.DistributedScan].Confidence
	one.f.Count = 0
	for i := range alike {
		s.add(&one, alike[i].key, alike[i].f)
	}
	s.setFacts(&one)
	one.f.Source, one.f.Prefix = netip.Addr{}, netip.Prefix{}
	one.f.At = max(one.f.At, s.engine.Clock())
	s.engine.Book.Report(one.about(), clone(&one.f))
	if len(s.sets) < maxSets {
		s.sets = append(s.sets, one)
	}
}

// add makes a source one of a set.
func (s *scans) add(to *set, key evidence.Key, f *finding.Finding) {
	if len(to.seen) < maxMembers {
		to.seen[key] = true
	}
	if source := s.engine.Sources.Get(key); source != nil {
		source.Contacts.Set = to.id
		s.engine.Sources.Keep(key)
	}
	to.f.SourceCount++
	if len(to.f.Sources) < engine.MaxNamed {
		to.f.Sources = append(to.f.Sources, f.Prefix.String())
	}
	to.f.Count = max(to.f.Count, f.Count)
	to.f.First = min(to.f.First, f.First)
}

// setFacts writes the numbers of a set.
func (s *scans) setFacts(one *set) {
	one.f.Facts = []finding.Fact{
		{Key: catalogue.FactSources, Value: float64(one.f.SourceCount)},
		{Key: catalogue.FactPortsFailed, Value: float64(one.f.Count)},
	}
}

// join adds a new scanner to a set that is like it.
func (s *scans) join(m *engine.Moment, few []uint32) bool {
	i := slices.IndexFunc(s.sets, func(one set) bool { return evidence.Similar(one.few, few) })
	if i < 0 {
		return false
	}
	one := &s.sets[i]
	s.add(one, m.Key, &finding.Finding{Prefix: m.PrefixOf(m.Client), First: m.Now, Count: one.f.Count})
	s.setFacts(one)
	return true
}

// grow notes that a set still scans.
func (s *scans) grow(m *engine.Moment, id uint64) {
	i := slices.IndexFunc(s.sets, func(one set) bool { return one.id == id })
	if i < 0 {
		// The set is over: the source is judged by itself again.
		m.Source.Contacts.Set = 0
		m.Source.Contacts.Walk.Restart()
		m.Source.Kernel.Restart()
		return
	}
	one := &s.sets[i]
	one.f.Count = max(one.f.Count, uint64(max(m.Source.Contacts.Walk.Failed, m.Source.Kernel.Failed)))
	if m.Book.Due(one.about(), one.f.Count, m.Now) {
		one.f.At, one.f.Last = m.Now, m.Now
		s.setFacts(one)
		m.Book.Report(one.about(), clone(&one.f))
	}
}

// clone makes a finding that may be kept.
func clone(f *finding.Finding) *finding.Finding {
	c := *f
	c.Sources, c.Facts = slices.Clone(f.Sources), slices.Clone(f.Facts)
	return &c
}

// crowd counts a first contact with a closed port of a host. Sources that scan by themselves
// don't count.
func (s *scans) crowd(m *engine.Moment) {
	source := m.Source
	if !s.distributed.Enabled || source.Contacts.Set != 0 || source.Contacts.Walk.Found || source.Contacts.Failed > evidence.MaxFew {
		return
	}
	n := m.NamespaceOf(m)
	if n.Crowd == nil || m.Now-n.Crowd.Since >= int64(s.distributed.Window) {
		n.Crowd = evidence.NewCrowd(m.Now)
	}
	c := n.Crowd
	hash := reading.Mix(m.Key.Hi ^ reading.Mix(m.Key.Lo^m.Key.Scope))
	if c.See(hash, reading.Mix(uint64(m.Port))) && len(c.Named) < engine.MaxNamed {
		c.Named = append(c.Named, m.Text(m.Client))
	}
	s.checkCrowd(m, c)
}

func (s *scans) checkCrowd(m *engine.Moment, c *evidence.Crowd) {
	sources, ports := c.Sizes()
	if sources < s.distributed.MinSources || ports < s.distributed.MinPorts {
		return
	}
	about := finding.Subject{Rule: uint8(catalogue.DistributedScan), Host: m.HostOf()}
	if !m.Book.Due(about, uint64(sources), m.Now) {
		return
	}
	f := m.Finding(catalogue.DistributedScan, uint64(sources), c.Since)
	f.Source, f.Prefix, f.Server = netip.Addr{}, netip.Prefix{}, m.Server
	f.Confidence = catalogue.All[catalogue.DistributedScan].Confidence
	f.Sources, f.SourceCount = slices.Clone(c.Named), sources
	f.Facts = []finding.Fact{{Key: catalogue.FactSources, Value: float64(sources)}, {Key: catalogue.FactPortsFailed, Value: float64(ports)}}
	m.Book.Report(about, f)
}
