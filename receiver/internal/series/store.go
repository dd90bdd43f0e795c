// SPDX-License-Identifier: Apache-2.0

package series

import (
	"iter"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/resource"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series/histogram"
)

// dims tell a series from the others with the same attributeSet: the metric, its direction, and
// its detail, the value of its own attribute. Direction and detail can be "". A metric with
// several attributes of its own has more instead of a detail.
type dims struct {
	metric            declared.Metric
	direction, detail string
	more              *tuple
}

// series is one series of one metric.
type series struct {
	dims
	// current is set if a pass over the listeners updated it; see BeginQueues.
	current bool
	// start is when it was first observed, in Unix nanoseconds.
	start        int64
	value        int64
	distribution *histogram.Distribution
	// sent is set once a snapshot had it that is not known to be lost.
	sent bool
	// begun is set once the start is that of a point of 0, which then stays where it is.
	begun bool
}

// empty reports whether nothing was counted yet.
func (c *series) empty() bool {
	return c.value == 0 && (c.distribution == nil || c.distribution.Empty())
}

// attributeSet is the series that share all attributes but dims, so that one look-up serves all
// metrics of a connection.
type attributeSet struct {
	// identity is set for connections and listeners, iface for interfaces. The overflow has
	// neither.
	identity identity
	iface    iface
	overflow bool
	// netns is the network namespace that its series count against.
	netns uint32

	series []*series
	// index has the series with a tuple. They can be many, and are in series, too.
	index map[indexKey]*series
	// recent saves the look-up in index: the next request often differs in nothing.
	recent *series
	// begun is set once the series of a listening port have begun at 0; see Begin.
	begun bool
	// touched is set if a series changed since the last snapshot. last is the time of the last
	// snapshot with a change.
	touched bool
	last    int64
}

// indexKey is dims of a series with a tuple.
type indexKey struct {
	metric declared.Metric
	more   *tuple
}

func (a *attributeSet) find(d dims) *series {
	if d.more != nil {
		if c := a.recent; c != nil && c.more == d.more && c.metric == d.metric {
			return c
		}
		c := a.index[indexKey{d.metric, d.more}]
		if c != nil {
			a.recent = c
		}
		return c
	}
	for _, c := range a.series {
		// Compare the number first: most series belong to other metrics.
		if c.metric == d.metric && c.dims == d {
			return c
		}
	}
	return nil
}

func (a *attributeSet) active() bool {
	c := a.find(dims{metric: declared.MetricConnectionActive})
	return c != nil && c.value > 0
}

// iface is an interface as its attributes show it; netns is 0 in the collector's namespace.
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
	network    string
	origin     resource.Origin
}

// group is the attribute sets of one resource.
type group struct {
	origin   resource.Origin
	resource pcommon.Resource
	allowed  bool
	sets     []*attributeSet
}

// families is how many attribute sets there may be for each series of a metric. The counters of
// a port can know less about the workload than its connections, and listeners have attribute
// sets of their own.
const families = 3

// store finds and bounds the series.
type store struct {
	limit     int
	resources *resource.Builder

	// aliases are a shorter way to sets. Several keys can have one set.
	aliases map[Key]*attributeSet
	// last saves the look-up: a connection feeds several metrics, and often the next connection
	// feeds the same series. BenchmarkPath/metrics took a tenth more without it.
	last struct {
		key Key
		set *attributeSet
	}
	sets     map[identity]*attributeSet
	ifaces   map[iface]*attributeSet
	overflow *attributeSet
	tuples   tuples
	// groups begin with the host's. The overflow belongs to it.
	groups  []*group
	groupOf map[resource.Origin]*group
	counts  [declared.Metrics]int
	shares  shares
	// refused counts observations that went into the overflow.
	refused uint64
}

func newStore(r *resource.Builder, limit int) store {
	s := store{
		limit:     limit,
		resources: r,
		aliases:   map[Key]*attributeSet{},
		sets:      map[identity]*attributeSet{},
		ifaces:    map[iface]*attributeSet{},
		groupOf:   map[resource.Origin]*group{},
		overflow:  &attributeSet{overflow: true},
		tuples:    tuples{known: map[tuple]*tuple{}},
		shares:    shares{ownNetNS: r.OwnNetNS(), of: map[uint32]*share{}},
	}
	host := s.group(resource.Origin{})
	host.sets = append(host.sets, s.overflow)
	return s
}

func (s *store) set(key Key) *attributeSet {
	if s.last.set != nil && s.last.key == key {
		return s.last.set
	}
	set := s.find(key)
	if set != s.overflow {
		s.last.key, s.last.set = key, set
	}
	return set
}

func (s *store) find(key Key) *attributeSet {
	if set, ok := s.aliases[key]; ok {
		return set
	}
	id := identity{port: key.Port, ipv4: key.IPv4, listener: key.Listener, network: key.Network}
	if key.Workload != nil {
		id.executable = clean.String(key.Workload.Executable)
	}
	id.origin = s.resources.Visible(s.resources.Origin(key.Workload, key.NetNS))
	set, ok := s.sets[id]
	if !ok {
		if s.shares.used(key.NetNS, families*s.limit, len(s.sets), s.shares.held(key.NetNS).sets) {
			return s.overflow
		}
		s.shares.get(key.NetNS).sets++
		set = &attributeSet{identity: id, netns: key.NetNS, touched: true}
		s.sets[id] = set
		g := s.group(id.origin)
		g.sets = append(g.sets, set)
	}
	if len(s.aliases) >= 2*families*s.limit {
		// Old keys stay in aliases when containers come and go.
		clear(s.aliases)
	}
	s.aliases[key] = set
	return set
}

func (s *store) iface(id iface) *attributeSet {
	set, ok := s.ifaces[id]
	if !ok {
		netns := id.netns
		if netns == 0 {
			netns = s.shares.ownNetNS
		}
		if s.shares.used(netns, s.limit, len(s.ifaces), s.shares.held(netns).ifaces) {
			return s.overflow
		}
		s.shares.get(netns).ifaces++
		set = &attributeSet{iface: id, netns: netns, touched: true}
		s.ifaces[id] = set
		g := s.group(s.resources.Visible(resource.Origin{NetNS: id.netns}))
		g.sets = append(g.sets, set)
	}
	return set
}

func (s *store) group(from resource.Origin) *group {
	if g, ok := s.groupOf[from]; ok {
		return g
	}
	g := &group{origin: from}
	s.groupOf[from] = g
	g.resource, g.allowed = s.resources.Build(from)
	s.groups = append(s.groups, g)
	return g
}

// series finds or makes a series of the set. Over the limit, it returns the overflow's.
func (s *store) series(set *attributeSet, d dims) *series {
	set.touched = true
	if c := set.find(d); c != nil && !set.overflow {
		return c
	}
	if set.overflow || s.shares.used(set.netns, s.limit, s.counts[d.metric], s.shares.held(set.netns).counts[d.metric]) {
		s.refused++
		set, d = s.overflow, dims{metric: d.metric}
		if c := set.find(d); c != nil {
			return c
		}
	} else {
		s.count(set, d.metric, 1)
	}
	c := &series{dims: d}
	set.series = append(set.series, c)
	if d.more != nil {
		if set.index == nil {
			set.index = map[indexKey]*series{}
		}
		set.index[indexKey{d.metric, d.more}] = c
	}
	return c
}

func (s *store) all() iter.Seq[*attributeSet] {
	return func(yield func(*attributeSet) bool) {
		for _, g := range s.groups {
			for _, set := range g.sets {
				if !yield(set) {
					return
				}
			}
		}
	}
}

// expire drops attribute sets that did not change for too long, except those with open
// connections and the overflow.
func (s *store) expire(now int64, after time.Duration) {
	expired := 0
	for _, g := range s.groups {
		g.sets = slices.DeleteFunc(g.sets, func(set *attributeSet) bool {
			if set.touched {
				set.touched, set.last = false, now
			}
			// The wall clock may have been set back.
			set.last = min(set.last, now)
			if after <= 0 || now-set.last < int64(after) || set.overflow || set.active() {
				return false
			}
			s.drop(set)
			expired++
			return true
		})
	}
	if expired == 0 {
		return
	}
	clear(s.aliases)
	s.last.set = nil
	s.tidyTuples()
	s.shares.tidy()
	host := s.groups[0]
	s.groups = slices.DeleteFunc(s.groups, func(g *group) bool {
		if g == host || len(g.sets) > 0 {
			return false
		}
		delete(s.groupOf, g.origin)
		return true
	})
}

func (s *store) drop(set *attributeSet) {
	held := s.shares.get(set.netns)
	if set.iface != (iface{}) {
		delete(s.ifaces, set.iface)
		held.ifaces--
	} else {
		delete(s.sets, set.identity)
		held.sets--
	}
	for _, c := range set.series {
		s.count(set, c.metric, -1)
	}
}

// count adds n to the series of a metric.
func (s *store) count(set *attributeSet, m declared.Metric, n int) {
	s.counts[m] += n
	s.shares.get(set.netns).counts[m] += n
}

// tidyTuples forgets the tuples of series that were dropped.
func (s *store) tidyTuples() {
	used := make(map[*tuple]bool, len(s.tuples.known))
	for set := range s.all() {
		for key := range set.index {
			used[key.more] = true
		}
	}
	s.tuples.tidy(used)
}
