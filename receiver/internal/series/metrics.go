// SPDX-License-Identifier: Apache-2.0

// Package series turns facts into cumulative metrics and bounds how many series there are.
// Each string from outside passes clean.String here.
package series

import (
	"cmp"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/resource"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series/histogram"
)

// Options configure Metrics beyond the user's toggles.
type Options struct {
	HostName string
	// OwnNetNS is the network namespace that is the host's: see resource.Origin.
	OwnNetNS uint32
	// Version is the scope's version, the collector's build.
	Version string
	// SeriesLimit is how many series each metric may have. Further observations go into one
	// more, whose only attribute is otel.metric.overflow.
	SeriesLimit int
	// Exponential makes histograms exponential instead of explicit.
	Exponential bool
	// FromZero has each counter and each histogram begin with a point of 0.
	FromZero bool
	// Expiry is how long an unchanged series is sent; 0 means forever.
	Expiry time.Duration
	// Now replaces the clock in tests; nil means time.Now.
	Now func() time.Time
}

// Key identifies the series of connections and listeners.
type Key struct {
	// NetNS is the network namespace.
	NetNS uint32
	// Port is the local port; 0 if no listener exists.
	Port uint16
	IPv4 bool
	// Listener is set for series of listening sockets. They may accept both IP versions, so the
	// series have no network.type, and IPv4 is not set.
	Listener bool
	// Network groups clients; "" if they are not grouped.
	Network string
	// Workload is nil if unknown.
	Workload *owner.Workload
}

// Metrics keeps cumulative series. It is for one goroutine at a time.
type Metrics struct {
	enabled   [declared.Metrics]bool
	options   Options
	resources *resource.Builder
	// bounds are nil unless the metric is a histogram, own are the keys of dims.
	bounds [declared.Metrics][]float64
	own    [declared.Metrics]ownAttributes
	store  store
	// seen are the totals of each interface as last reported.
	seen map[seenKey]*seen
	// reported is set if any interface was reported since the last snapshot.
	reported bool
	// beginnings are the series that Begin makes.
	beginnings []dims
	// last is the time of the last snapshot, or else of New, in Unix nanoseconds.
	last int64
}

// New makes a Metrics without series. The filters of the resource attributes must be valid.
func New(config metadata.MetricsBuilderConfig, options Options) *Metrics {
	if options.Now == nil {
		options.Now = time.Now
	}
	m := &Metrics{
		enabled:   declared.EnabledMetrics(&config.Metrics),
		options:   options,
		resources: resource.NewBuilder(config.ResourceAttributes, options.HostName, options.OwnNetNS, resource.MetricFilters),
		seen:      map[seenKey]*seen{},
	}
	m.last = options.Now().UnixNano()
	for id := range declared.Metrics {
		m.bounds[id] = histogram.Bounds(id)
		m.own[id] = ownOf(id)
	}
	m.store = newStore(m.resources, options.SeriesLimit)
	return m
}

// SeriesCount is the number of series of the metric that has the most, without the overflow
// series.
func (m *Metrics) SeriesCount() int {
	most := 0
	for _, n := range m.store.counts {
		most = max(most, n)
	}
	return most
}

// Refused is how many observations went into the overflow series since the start.
func (m *Metrics) Refused() uint64 { return m.store.refused }

// IO counts payload bytes of each direction whose counter the kernel provides.
func (m *Metrics) IO(s Key, absent connection.Absent, received, transmitted uint64) {
	set := m.store.set(s)
	if !absent.Has(connection.AbsentReceivedBytes) {
		m.add(set, dims{metric: declared.MetricIO, direction: declared.DirectionReceive}, received)
	}
	if !absent.Has(connection.AbsentTransmittedBytes) {
		m.add(set, dims{metric: declared.MetricIO, direction: declared.DirectionTransmit}, transmitted)
	}
}

// Closed counts a connection that ended, and records its measured durations. IO counts its bytes.
func (m *Metrics) Closed(s Key, c *connection.Closed) {
	set := m.store.set(s)
	m.add(set, dims{metric: declared.MetricConnectionClosed, detail: c.Reason.String()}, 1)
	m.record(set, declared.MetricConnectionDuration, seconds(c.Duration()))
	if c.SmoothedRTT > 0 {
		m.record(set, declared.MetricRTT, float64(c.SmoothedRTT)/1e6)
	}
	if c.Handshake > 0 {
		m.record(set, declared.MetricHandshakeDuration, float64(c.Handshake)/1e6)
	}
	if c.Accept > 0 {
		m.record(set, declared.MetricAcceptDuration, seconds(c.Accept))
	}
}

// BeginActive sets the number of open connections to 0 in every series. AddActive follows.
func (m *Metrics) BeginActive() {
	for set := range m.store.all() {
		if c := set.find(dims{metric: declared.MetricConnectionActive}); c != nil && c.value > 0 {
			c.value = 0
			set.touched = true
		}
	}
}

// AddActive adds n open connections.
func (m *Metrics) AddActive(s Key, n int64) {
	if n > 0 {
		m.add(m.store.set(s), dims{metric: declared.MetricConnectionActive}, uint64(n))
	}
}

// AddCount adds the increment of a counter per port. The detail is the reason of a drop or the
// type of a failure.
func (m *Metrics) AddCount(s Key, what connection.PortCount, detail string, delta uint64) {
	if delta == 0 {
		return
	}
	if d, ok := portDims(what, detail); ok {
		m.add(m.store.set(s), d, delta)
	}
}

func portDims(what connection.PortCount, detail string) (dims, bool) {
	switch what {
	case connection.Retransmits:
		return dims{metric: declared.MetricRetransmits, detail: declared.RetransmittedSegment}, true
	case connection.SYNACKRetransmits:
		return dims{metric: declared.MetricRetransmits, detail: declared.RetransmittedSYNACK}, true
	case connection.ResetsSent:
		return dims{metric: declared.MetricResets, detail: declared.ResetByServer}, true
	case connection.ResetsReceived:
		return dims{metric: declared.MetricResets, detail: declared.ResetByClient}, true
	case connection.Drops:
		return dims{metric: declared.MetricDrops, detail: cmp.Or(detail, declared.ErrorOther)}, true
	case connection.Failures:
		return dims{metric: declared.MetricConnectionFailed, detail: cmp.Or(detail, declared.ErrorOther)}, true
	case connection.Opens:
		return dims{metric: declared.MetricConnectionOpened}, true
	default:
		return dims{}, false
	}
}

// seenKey identifies an interface and direction. Interfaces can share a name.
type seenKey struct {
	name              string
	netns, generation uint32
	egress            bool
}

type seen struct {
	totals packet.Interface
	// current is set if it was reported since the last snapshot.
	current bool
}

// SetInterface reports the running totals of one interface and direction. Totals restart from 0
// if they shrink, or if they return after a snapshot without them.
func (m *Metrics) SetInterface(i packet.Interface) {
	key := seenKey{name: i.Name, netns: i.NetNS, generation: i.Generation, egress: i.Egress}
	known := m.seen[key]
	if known == nil {
		known = new(seen)
		m.seen[key] = known
	}
	last := known.totals
	known.totals, known.current = i, true
	m.reported = true

	set, direction := m.store.iface(iface{clean.String(i.Name), i.NetNS}), declared.IODirection(i.Egress)
	for class := range packet.Classes {
		name := class.String()
		m.grow(set, dims{metric: declared.MetricPackets, direction: direction, detail: name}, last.Packets[class], i.Packets[class])
		m.grow(set, dims{metric: declared.MetricPacketIO, direction: direction, detail: name}, last.Bytes[class], i.Bytes[class])
	}
	for malformed := packet.WellFormed + 1; malformed < packet.MalformedKinds; malformed++ {
		d := dims{metric: declared.MetricMalformed, detail: malformed.String()}
		m.grow(set, d, last.Malformed[malformed], i.Malformed[malformed])
	}
	m.grow(set, dims{metric: declared.MetricFragments}, last.Fragments, i.Fragments)
	m.grow(set, dims{metric: declared.MetricForwardedPackets, direction: direction}, last.Forwarded, i.Forwarded)
}

// forgetInterfaces drops interfaces that were not reported since the last snapshot. If none was
// reported, the report itself is missing, and all stay.
func (m *Metrics) forgetInterfaces() {
	if !m.reported {
		return
	}
	m.reported = false
	for key, known := range m.seen {
		if !known.current {
			delete(m.seen, key)
		}
		known.current = false
	}
}

func (m *Metrics) grow(set *attributeSet, d dims, last, now uint64) {
	if now < last {
		last = 0
	}
	m.add(set, d, now-last)
}

func (m *Metrics) add(set *attributeSet, d dims, n uint64) {
	if n != 0 && m.enabled[d.metric] {
		m.grown(set, d, n)
	}
}

// grown adds to a series. It makes the series if necessary, also for 0.
func (m *Metrics) grown(set *attributeSet, d dims, n uint64) *series {
	c := m.store.series(set, d)
	m.begin(c)
	c.value += int64(n)
	return c
}

func (m *Metrics) record(set *attributeSet, id declared.Metric, value float64) {
	if !m.enabled[id] {
		return
	}
	m.observe(m.store.series(set, dims{metric: id}), value)
}

func (m *Metrics) observe(c *series, value float64) {
	m.distribution(c).Record(value)
}

// distribution is that of a histogram's series, made if necessary.
func (m *Metrics) distribution(c *series) *histogram.Distribution {
	if c.distribution == nil {
		c.start = m.options.Now().UnixNano()
		c.distribution = histogram.New(m.bounds[c.metric], m.options.Exponential)
	}
	return c.distribution
}

func seconds(nanoseconds int64) float64 { return float64(nanoseconds) / 1e9 }
