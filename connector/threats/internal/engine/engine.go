// SPDX-License-Identifier: Apache-2.0

// Package engine judges what the receiver reports, one record at a time, by the detectors that it
// was given. Time is that of the records, so that a backlog is judged as it was.
package engine

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/literal"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/table"
)

// Config of an engine.
type Config struct {
	Rules settings.Rules
	// IPv6Prefix is how many bits of an IPv6 address tell sources apart.
	IPv6Prefix int
	// Except are prefixes that no rule reports.
	Except []netip.Prefix
	// Sources, Services and Findings bound the memory.
	Sources, Services, Findings int
	MaxFindings                 int
	EndAfter                    time.Duration
	// Lists of TLS fingerprints, with what each is a sign of.
	Lists map[string]string
	// Literals are signatures of the user's own; nil without.
	Literals *literal.Set
	// Key makes hashes unpredictable; it outlives a restart.
	Key uint64
	// Tell gets each finding.
	Tell func(*finding.Finding)
}

// Detector judges records of the events that it wants.
type Detector interface {
	// Events are those that it wants.
	Events() []reading.Event
	// Judge looks at a record in its context, and may report to it.
	Judge(m *Moment)
}

// Ender is a detector that wants to know when a finding is over.
type Ender interface{ Ended(about finding.Subject) }

// Ticker is a detector that has something to do as time passes.
type Ticker interface{ Tick(now int64) }

// Moment is a record, with what is known about what it is about.
type Moment struct {
	*reading.Record
	*Engine
	// Now is the time of the record, as far as it can be believed.
	Now int64
	Key evidence.Key
	// host tells network namespaces of hosts apart.
	host uint64
	// Source is nil in records of listeners.
	Source *evidence.Source
	// Sighting is only of records of sources.
	Sighting *evidence.Sighting
	// Service and Namespace are only of records of listeners, evidence.Namespace of sources, too.
	Service   *evidence.Service
	Namespace *evidence.Namespace
}

// Engine has all state.
type Engine struct {
	// Config is not changed.
	Config Config
	mask   [2]uint64

	clock int64
	// Sources are all that are followed, Namespaces those of hosts, Book has the findings.
	Sources    *table.Table[evidence.Key, evidence.Source]
	Namespaces *table.Table[uint64, evidence.Namespace]
	Book       *finding.Book
	// Identities are users and tokens that were denied.
	Identities *table.Table[uint64, evidence.Identity]
	sightings  *table.Table[place, evidence.Sighting]
	services   *table.Table[serviceKey, evidence.Service]

	detectors []Detector
	byEvent   [reading.Events][]Detector
	except    [catalogue.Rules][]netip.Prefix
	// Excepted counts findings that an exception silenced, each time.
	excepted [catalogue.Rules]uint64
	moment   Moment
	// ticked and swept are when this was last done.
	ticked, swept int64
}

// New makes an engine without state and without detectors.
func New(cfg Config) *Engine {
	e := &Engine{
		Config: cfg, clock: math.MinInt64,
		Sources:    table.New[evidence.Key, evidence.Source](cfg.Sources),
		sightings:  table.New[place, evidence.Sighting](cfg.Sources),
		services:   table.New[serviceKey, evidence.Service](cfg.Services),
		Namespaces: table.New[uint64, evidence.Namespace](cfg.Services),
		Identities: table.New[uint64, evidence.Identity](cfg.Services),
	}
	e.mask = [2]uint64{^uint64(0) << max(0, 64-cfg.IPv6Prefix), ^uint64(0) << min(64, 128-cfg.IPv6Prefix)}
	e.Book = finding.NewBook(finding.Settings{
		Rules: int(catalogue.Rules), Open: cfg.Findings, PerMinute: cfg.MaxFindings, EndAfter: cfg.EndAfter,
		Tell: cfg.Tell, Ended: e.ended,
	})
	for name, except := range cfg.Rules.Except() {
		rule, _ := catalogue.Of(name)
		e.except[rule] = slices.Concat(cfg.Except, settings.Prefixes(except))
	}
	e.except[catalogue.Anomaly], e.except[catalogue.Model] = cfg.Except, cfg.Except
	return e
}

// Add adds a detector.
func (e *Engine) Add(d Detector) {
	e.detectors = append(e.detectors, d)
	for _, event := range d.Events() {
		e.byEvent[event] = append(e.byEvent[event], d)
	}
}

// Record judges a record. The wall clock bounds what a record's time may be.
func (e *Engine) Record(r *reading.Record, wall int64) {
	detectors := e.byEvent[r.Event]
	if len(detectors) == 0 {
		return
	}
	m := &e.moment
	*m = Moment{Record: r, Engine: e, Now: e.advance(r.Time, wall), host: reading.Mix(r.HostHash ^ r.NetNS)}
	switch r.Event {
	case reading.Listener:
		e.aboutService(m)
	case reading.Source:
		m.Namespace = e.NamespaceOf(m)
		m.Namespace.Attempts(&r.Source)
		if !r.Prefix.IsValid() {
			return // the record of the rest names nobody
		}
		e.aboutSource(m, r.Prefix.Addr())
		e.aboutSighting(m)
	default:
		e.aboutSource(m, r.Client)
	}
	for _, d := range detectors {
		d.Judge(m)
	}
	if e.clock-e.ticked >= int64(time.Second) {
		e.Tick(e.clock)
	}
}

// maxAhead is how far a record's time may be ahead of the wall clock.
const maxAhead = int64(5 * time.Minute)

// advance moves the clock to a record's time. A record from the future, by a wrong clock
// somewhere, counts as of now, so that it ends no finding and clears no window.
func (e *Engine) advance(at, wall int64) int64 {
	at = min(at, wall+maxAhead)
	e.clock = max(e.clock, at)
	return at
}

// Started tells whether there is a time: from the first record on.
func (e *Engine) Started() bool { return e.clock != math.MinInt64 }

// Clock is the time of the latest record.
func (e *Engine) Clock() int64 { return e.clock }

func (e *Engine) aboutSource(m *Moment, addr netip.Addr) {
	m.Key = e.keyOf(addr, m.HostHash)
	m.Source = e.Sources.Get(m.Key)
	if m.Source == nil {
		m.Source = e.Sources.Add(m.Key)
	}
	m.Source.Address = m.Client
	m.Source.Last = max(m.Source.Last, m.Now)
}

func (e *Engine) aboutSighting(m *Moment) {
	at := place{m.Key, m.HostOf()}
	m.Sighting = e.sightings.GetKept(at)
	if m.Sighting == nil {
		m.Sighting = e.sightings.Add(at)
	}
	m.Sighting.Last = max(m.Sighting.Last, m.Now)
}

func (e *Engine) aboutService(m *Moment) {
	m.Namespace = e.NamespaceOf(m)
	if m.Port == 0 {
		return
	}
	m.Serve()
}

// Serve adds the record's service to the moment.
func (m *Moment) Serve() {
	at := serviceKey{m.HostOf(), m.Port}
	m.Service = m.services.Get(at)
	if m.Service == nil {
		m.Service = m.services.Add(at)
	}
	m.Service.Last = max(m.Service.Last, m.Now)
}

// NamespaceOf is what is kept of the record's network namespace.
func (e *Engine) NamespaceOf(m *Moment) *evidence.Namespace {
	n := e.Namespaces.Get(m.HostOf())
	if n == nil {
		n = e.Namespaces.Add(m.HostOf())
	}
	n.Last = max(n.Last, m.Now)
	return n
}

// HostOf tells network namespaces of hosts apart.
func (m *Moment) HostOf() uint64 { return m.host }

// ServiceAt is what is kept of a port of a network namespace; nil if nothing is.
func (e *Engine) ServiceAt(host uint64, port uint16) *evidence.Service {
	return e.services.Get(serviceKey{host, port})
}

// sweepEvery is how often old entries are looked for.
const sweepEvery = int64(10 * time.Minute)

// Tick does what time brings: it ends findings, releases scans that waited for others, and
// forgets what is old.
func (e *Engine) Tick(now int64) {
	e.clock = max(e.clock, now)
	e.ticked = e.clock
	for _, d := range e.detectors {
		if t, ok := d.(Ticker); ok {
			t.Tick(e.clock)
		}
	}
	e.Book.Tick(e.clock)
	if e.clock-e.swept >= sweepEvery {
		e.swept = e.clock
		e.sweep()
	}
}

func (e *Engine) sweep() {
	old := e.clock - int64(e.Config.Rules.PortScan.Remember)
	sweep(e.Sources, old, func(s *evidence.Source) int64 { return s.Last })
	sweep(e.sightings, old, func(s *evidence.Sighting) int64 { return s.Last })
	sweep(e.services, old, func(s *evidence.Service) int64 { return s.Last })
	sweep(e.Identities, old, func(i *evidence.Identity) int64 { return i.Last })
	sweep(e.Namespaces, old, func(n *evidence.Namespace) int64 { return n.Last })
}

func sweep[K comparable, V any](t *table.Table[K, V], old int64, last func(*V) int64) {
	for key, value := range t.All() {
		if last(value) < old {
			t.Delete(key)
		}
	}
}
