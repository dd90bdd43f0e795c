// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"slices"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// scans finds port_scan and distributed_scan. They belong together: a source that looks like a
// scanner may be one of a set, or the decoy of another, and then only the set is named.
type scans struct {
	engine      *engine.Engine
	port        *settings.PortScan
	distributed *settings.DistributedScan
	odds        evidence.Odds
	waiting     []waiting
	sets        []set
}

// waiting is a scanner that may have others like it.
type waiting struct {
	key   evidence.Key
	since int64
	host  uint64
	few   []uint32
	f     *finding.Finding
}

// maxWaiting bounds the scanners that wait. More are told at once.
const maxWaiting = 512

func newScans(e *engine.Engine) *scans {
	p := &e.Config.Rules.PortScan
	return &scans{
		engine: e, port: p, distributed: &e.Config.Rules.DistributedScan,
		odds: evidence.NewOdds(p.ClientSuccess, p.ScannerSuccess, p.FalseAlarm, p.Detection),
	}
}

func (s *scans) Events() []reading.Event {
	return []reading.Event{reading.ConnectionOpen, reading.ConnectionClose, reading.ConnectionFailed, reading.Source}
}

// Judge steps the walk of the source by first contacts.
func (s *scans) Judge(m *engine.Moment) {
	if m.Event == reading.Source {
		s.ofKernel(m)
		return
	}
	// The server's own failure says nothing about the client.
	failed := m.Event == reading.ConnectionFailed
	if failed && (m.Failure == reading.FailedByServer || m.Failure == reading.FailedOther) {
		return
	}
	c := &m.Source.Contacts
	n := c.First(m.Destination(m.Record))
	if n == 0 {
		return
	}
	if !failed {
		c.Connected += n
		c.Walk.Step(&s.odds, 0, n, m.Now)
		return
	}
	c.Failed += n
	c.Walk.Step(&s.odds, n, 0, m.Now)
	m.Source.AddHost(m.Host)
	if c.Failed > 1 {
		m.Sources.Keep(m.Key)
	}
	s.crowd(m)
	s.check(m, &c.Walk)
}

// ofKernel takes the ports that the kernel counted: those that are new are first contacts, as far
// as there were SYNs. Ports that got other segments are for other rules.
func (s *scans) ofKernel(m *engine.Moment) {
	c, seen, of := &m.Source.Kernel, m.Sighting, &m.Record.Source
	failed := max(0, of.PortsFailed-seen.Failed)
	connected := min(max(0, of.Ports-seen.Ports-failed), of.SynListening)
	failed = min(failed, max(of.SynClosed, of.ResetSyn))
	seen.Failed = max(seen.Failed, of.PortsFailed)
	seen.Ports = max(seen.Ports, of.Ports)
	if failed+connected == 0 {
		return
	}
	c.Step(&s.odds, float64(failed), float64(connected), m.Now)
	if failed > 0 {
		m.Source.AddHost(m.Host)
	}
	if c.Failed > 1 {
		m.Sources.Keep(m.Key)
	}
	s.check(m, c)
}

// check compares a walk with the threshold for scanners.
func (s *scans) check(m *engine.Moment, w *evidence.Walk) {
	if !w.Found && w.Level < s.odds.Scanner {
		return
	}
	w.Found = true
	count := uint64(max(m.Source.Contacts.Walk.Failed, m.Source.Kernel.Failed) + 0.5)
	if m.Source.Contacts.Set != 0 {
		s.grow(m, m.Source.Contacts.Set)
		return
	}
	about := m.About(catalogue.PortScan)
	if !m.Due(about, count) {
		return
	}
	first := w.First
	f := m.Finding(catalogue.PortScan, count, first)
	f.Server, f.Confidence = m.Server, w.Confidence()
	f.Facts = []finding.Fact{
		{Key: catalogue.FactPortsFailed, Value: float64(count)},
		{Key: catalogue.FactPortsConnected, Value: float64(uint64(m.Source.Contacts.Connected))},
	}
	s.gather(m, about, f)
}

// gather lets a new scanner wait for others that are like it.
func (s *scans) gather(m *engine.Moment, about finding.Subject, f *finding.Finding) {
	if m.Book.IsOpen(about) || !s.distributed.Enabled {
		if s.port.Enabled {
			m.Report(about, f)
		}
		return
	}
	few := m.Source.Contacts.Few
	if joined := s.join(m, few); joined {
		return
	}
	if i := slices.IndexFunc(s.waiting, func(w waiting) bool { return w.key == m.Key }); i >= 0 {
		s.waiting[i].f.Count, s.waiting[i].f.Last = f.Count, f.Last
		s.waiting[i].f.Facts = f.Facts
		return
	}
	if len(s.waiting) >= maxWaiting {
		s.release(m.Now + int64(s.distributed.Gather))
	}
	s.waiting = append(s.waiting, waiting{key: m.Key, since: m.Now, host: m.HostOf(), few: slices.Clone(few), f: f})
}

// tick tells of scanners that have waited long enough.
func (s *scans) Tick(now int64) {
	s.release(now)
	s.sets = slices.DeleteFunc(s.sets, func(one set) bool { return !s.engine.Book.IsOpen(one.about()) })
}

// release takes from the waiting those whose time is over, with those that are like them.
func (s *scans) release(now int64) {
	for len(s.waiting) > 0 && now-s.waiting[0].since >= int64(s.distributed.Gather) {
		first := s.waiting[0]
		alike := []waiting{first}
		rest := s.waiting[:0]
		for _, w := range s.waiting[1:] {
			if first.like(&w) {
				alike = append(alike, w)
			} else {
				rest = append(rest, w)
			}
		}
		clear(s.waiting[len(rest):])
		s.waiting = rest
		if len(alike) >= s.distributed.MinAlike {
			s.found(alike)
			continue
		}
		for _, w := range alike {
			s.tell(&w)
		}
	}
}

// like compares the first ports, or where only the kernel counted, how many there were.
func (w *waiting) like(other *waiting) bool {
	if len(w.few) > 0 && len(other.few) > 0 {
		return evidence.Similar(w.few, other.few)
	}
	few, many := min(w.f.Count, other.f.Count), max(w.f.Count, other.f.Count)
	return w.host == other.host && 4*few >= 3*many
}

// tell tells of a scanner that is alone.
func (s *scans) tell(w *waiting) {
	if !s.port.Enabled {
		return
	}
	about := finding.Subject{Rule: uint8(catalogue.PortScan), Hi: w.key.Hi, Lo: w.key.Lo, Scope: w.key.Scope}
	w.f.At = max(w.f.At, s.engine.Clock())
	if source := s.engine.Sources.Get(w.key); source != nil {
		w.f.Hosts = slices.Clone(source.Hosts)
		s.engine.Sources.Keep(w.key)
	}
	s.engine.Book.Report(about, w.f)
}

// ended restarts the test of a scanner that has stopped.
func (s *scans) Ended(about finding.Subject) {
	if catalogue.ID(about.Rule) != catalogue.PortScan {
		return
	}
	if source := s.engine.Sources.Get(evidence.Key{Hi: about.Hi, Lo: about.Lo, Scope: about.Scope}); source != nil {
		source.Contacts.Walk.Restart()
		source.Kernel.Restart()
	}
}
