// SPDX-License-Identifier: Apache-2.0

package series

import (
	"iter"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/resource"
)

// dims are what tells a cell from the others of its bundle: the metric, the direction
// where it has one, and the detail, the value of its own attribute, where it has one.
type dims struct {
	metric            declared.Metric
	direction, detail string
}

// cell is one series of one metric.
type cell struct {
	dims
	// current is set when a pass over the listeners fed it; see BeginQueues.
	current bool
	// start is when it was first observed, Unix nanoseconds.
	start        int64
	value        int64
	distribution *distribution
}

// bundle is the cells that have their other attributes in common, so that one look-up
// serves all the metrics that a connection feeds.
type bundle struct {
	// identity is set for connections, iface for interfaces, overflow for neither.
	identity identity
	iface    iface
	overflow bool
	// netns is the namespace that its series are charged to.
	netns uint32

	cells []*cell
	// touched tells of news since the last snapshot, last when there were any.
	touched bool
	last    int64
}

func (b *bundle) find(d dims) *cell {
	for _, c := range b.cells {
		// The number first: most cells are another metric's.
		if c.metric == d.metric && c.dims == d {
			return c
		}
	}
	return nil
}

func (b *bundle) active() bool {
	c := b.find(dims{metric: declared.MetricConnectionActive})
	return c != nil && c.value > 0
}

// iface is an interface as its attributes show it; netns is 0 in the own namespace.
type iface struct {
	name  string
	netns uint32
}

// identity is a Key as its attributes and its resource show it.
type identity struct {
	port       uint16
	ipv4       bool
	listener   bool
	executable string
	origin     resource.Origin
}

// group is the bundles of one resource.
type group struct {
	origin   resource.Origin
	resource pcommon.Resource
	allowed  bool
	bundles  []*bundle
}

// families is how many bundles there may be for each series of a metric: the counters
// of a port can know less of the workload than the connections of that port do, and
// listeners have bundles of their own.
const families = 3

// store finds and bounds the series.
type store struct {
	limit     int
	resources *resource.Builder

	// aliases are a short way to a bundle of bundles: several keys can look alike.
	aliases map[Key]*bundle
	// last spares the look-up: a connection feeds several metrics, and often so does the
	// next one. BenchmarkPath/metrics took a tenth more without.
	last struct {
		series Key
		*bundle
	}
	bundles  map[identity]*bundle
	ifaces   map[iface]*bundle
	overflow *bundle
	// groups begin with the host's, which the overflow belongs to.
	groups []*group
	counts [declared.Metrics]int
	shares shares
	// refused counts what went into the overflow for want of a series of its own.
	refused uint64
}

func newStore(r *resource.Builder, limit int) store {
	s := store{
		limit:     limit,
		resources: r,
		aliases:   map[Key]*bundle{},
		bundles:   map[identity]*bundle{},
		ifaces:    map[iface]*bundle{},
		overflow:  &bundle{overflow: true},
		shares:    shares{ownNetNS: r.OwnNetNS(), of: map[uint32]*share{}},
	}
	host := s.group(resource.Origin{})
	host.bundles = append(host.bundles, s.overflow)
	return s
}

func (s *store) bundle(series Key) *bundle {
	if s.last.bundle != nil && s.last.series == series {
		return s.last.bundle
	}
	b := s.find(series)
	if b != s.overflow {
		s.last.series, s.last.bundle = series, b
	}
	return b
}

func (s *store) find(series Key) *bundle {
	if b, ok := s.aliases[series]; ok {
		return b
	}
	id := identity{port: series.Port, ipv4: series.IPv4, listener: series.Listener}
	var container owner.Container
	if w := series.Workload; w != nil {
		id.executable, container = clean.String(w.Executable), w.Container
	}
	id.origin = s.resources.Visible(s.resources.Origin(container, series.NetNS))
	b, ok := s.bundles[id]
	if !ok {
		if s.shares.used(series.NetNS, families*s.limit, len(s.bundles), s.shares.held(series.NetNS).bundles) {
			return s.overflow
		}
		s.shares.get(series.NetNS).bundles++
		b = &bundle{identity: id, netns: series.NetNS, touched: true}
		s.bundles[id] = b
		g := s.group(id.origin)
		g.bundles = append(g.bundles, b)
	}
	if len(s.aliases) >= 2*families*s.limit {
		// Containers may come and go behind one bundle; it has to be found anew then.
		clear(s.aliases)
	}
	s.aliases[series] = b
	return b
}

func (s *store) iface(id iface) *bundle {
	b, ok := s.ifaces[id]
	if !ok {
		netns := id.netns
		if netns == 0 {
			netns = s.shares.ownNetNS
		}
		if s.shares.used(netns, s.limit, len(s.ifaces), s.shares.held(netns).ifaces) {
			return s.overflow
		}
		s.shares.get(netns).ifaces++
		b = &bundle{iface: id, netns: netns, touched: true}
		s.ifaces[id] = b
		g := s.group(s.resources.Visible(resource.Origin{NetNS: id.netns}))
		g.bundles = append(g.bundles, b)
	}
	return b
}

func (s *store) group(from resource.Origin) *group {
	for _, g := range s.groups {
		if g.origin == from {
			return g
		}
	}
	g := &group{origin: from}
	g.resource, g.allowed = s.resources.Build(from)
	s.groups = append(s.groups, g)
	return g
}

// cell finds or makes a cell of the bundle; over the limit, it is the overflow's.
func (s *store) cell(b *bundle, d dims) *cell {
	b.touched = true
	if c := b.find(d); c != nil && !b.overflow {
		return c
	}
	if b.overflow || s.shares.used(b.netns, s.limit, s.counts[d.metric], s.shares.held(b.netns).counts[d.metric]) {
		s.refused++
		b, d = s.overflow, dims{metric: d.metric}
		if c := b.find(d); c != nil {
			return c
		}
	} else {
		s.count(b, d.metric, 1)
	}
	c := &cell{dims: d}
	b.cells = append(b.cells, c)
	return c
}

func (s *store) all() iter.Seq[*bundle] {
	return func(yield func(*bundle) bool) {
		for _, g := range s.groups {
			for _, b := range g.bundles {
				if !yield(b) {
					return
				}
			}
		}
	}
}

// expire notes which bundles had news and drops those that had none for too long,
// open connections and the overflow excepted.
func (s *store) expire(now int64, after time.Duration) {
	expired := 0
	for _, g := range s.groups {
		g.bundles = slices.DeleteFunc(g.bundles, func(b *bundle) bool {
			if b.touched {
				b.touched, b.last = false, now
			}
			// The wall clock was set back.
			b.last = min(b.last, now)
			if after <= 0 || now-b.last < int64(after) || b.overflow || b.active() {
				return false
			}
			s.drop(b)
			expired++
			return true
		})
	}
	if expired == 0 {
		return
	}
	clear(s.aliases)
	s.last.bundle = nil
	s.shares.tidy()
	host := s.groups[0]
	s.groups = slices.DeleteFunc(s.groups, func(g *group) bool {
		return g != host && len(g.bundles) == 0
	})
}

func (s *store) drop(b *bundle) {
	held := s.shares.get(b.netns)
	if b.iface != (iface{}) {
		delete(s.ifaces, b.iface)
		held.ifaces--
	} else {
		delete(s.bundles, b.identity)
		held.bundles--
	}
	for _, c := range b.cells {
		s.count(b, c.metric, -1)
	}
}

// count adds n to the series of a metric.
func (s *store) count(b *bundle, m declared.Metric, n int) {
	s.counts[m] += n
	s.shares.get(b.netns).counts[m] += n
}
