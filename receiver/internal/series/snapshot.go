// SPDX-License-Identifier: Apache-2.0

package series

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/resource"
)

// entry is a data point: a series with the rest of its attributes.
type entry struct {
	*attributeSet
	*series
	// zero is set for the point of 0 at its start.
	zero bool
	// begins is set if the series begins here.
	begins bool
}

// Message is a part of a snapshot.
type Message struct {
	pmetric.Metrics
	Begun Begun
}

// Begun are series that begin with a point of 0 in one message.
type Begun []*series

// maxPoints bounds the data points of one message. A point takes up to 500 bytes, and gRPC
// servers refuse messages of more than 4 MiB by default.
const maxPoints = 4000

// Snapshot makes a data point of each series, and drops series that did not change for too long.
// It returns as many messages as maxPoints requires. Call NotBegun for those that reach nobody.
func (m *Metrics) Snapshot(now time.Time) []Message {
	m.forgetInterfaces()
	m.store.expire(now.UnixNano(), m.options.Expiry)

	s := snapshot{version: m.options.Version}
	for _, g := range m.store.groups {
		if g.allowed {
			m.fillGroup(&s, g, pcommon.NewTimestampFromTime(now))
		}
	}
	m.last = now.UnixNano()
	return s.messages
}

// snapshot is a snapshot that is being made.
type snapshot struct {
	version  string
	messages []Message
	// group is the last one in the last message, scope its metrics, and points the number of
	// points in the message.
	group  *group
	scope  pmetric.ScopeMetrics
	points int
}

// metric begins a metric of a group, in a message with room for some points.
func (s *snapshot) metric(g *group, room int) pmetric.Metric {
	if maxPoints-s.points < room || len(s.messages) == 0 {
		s.messages = append(s.messages, Message{Metrics: pmetric.NewMetrics()})
		s.group, s.points = nil, 0
	}
	if s.group != g {
		metrics := s.messages[len(s.messages)-1].ResourceMetrics().AppendEmpty()
		g.resource.CopyTo(metrics.Resource())
		metrics.SetSchemaUrl(resource.SchemaURL)
		s.group, s.scope = g, metrics.ScopeMetrics().AppendEmpty()
		s.scope.SetSchemaUrl(resource.SchemaURL)
		s.scope.Scope().SetName(metadata.ScopeName)
		s.scope.Scope().SetVersion(s.version)
	}
	return s.scope.Metrics().AppendEmpty()
}

func (m *Metrics) fillGroup(s *snapshot, g *group, now pcommon.Timestamp) {
	var entries [declared.Metrics][]entry
	for _, set := range g.sets {
		for _, c := range set.series {
			// If the wall clock was set back, the series starts at the point. That means that
			// counting may have begun before.
			c.start = min(c.start, int64(now))
			if entries[c.metric] == nil {
				entries[c.metric] = make([]entry, 0, len(g.sets))
			}
			if zero := m.zero(c, int64(now)); zero != nil {
				entries[c.metric] = append(entries[c.metric], entry{attributeSet: set, series: zero, zero: true})
			}
			entries[c.metric] = append(entries[c.metric], entry{attributeSet: set, series: c, begins: !c.sent && m.fromZero(c.metric)})
			c.sent = true
		}
	}
	for id, of := range entries {
		for len(of) > 0 {
			metric := s.metric(g, together(of))
			n := min(len(of), maxPoints-s.points)
			if of[n-1].zero {
				n--
			}
			m.fill(metric, declared.Metric(id), of[:n], now)
			s.filled(of[:n])
			of = of[n:]
		}
	}
}

// together is how many of the next points belong in one message: a point of 0 reaches nobody
// without the value after it, and the other way round.
func together(of []entry) int {
	if of[0].zero {
		return 2
	}
	return 1
}

// filled notes what the last message has.
func (s *snapshot) filled(of []entry) {
	s.points += len(of)
	last := &s.messages[len(s.messages)-1]
	for _, e := range of {
		if e.begins {
			last.Begun = append(last.Begun, e.series)
		}
	}
}

func (m *Metrics) fill(to pmetric.Metric, id declared.Metric, of []entry, now pcommon.Timestamp) {
	d, own := id.Definition(), &m.own[id]
	to.SetName(d.Name)
	to.SetDescription(d.Description)
	to.SetUnit(d.Unit)
	switch {
	case d.Kind != declared.Histogram:
		fillSum(to.SetEmptySum(), d.Kind == declared.Counter, of, own, now)
	case m.options.Exponential:
		fillExponential(to.SetEmptyExponentialHistogram(), of, own, now)
	default:
		fillExplicit(to.SetEmptyHistogram(), of, own, now)
	}
}

func fillSum(sum pmetric.Sum, monotonic bool, of []entry, own *ownAttributes, now pcommon.Timestamp) {
	sum.SetIsMonotonic(monotonic)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	sum.DataPoints().EnsureCapacity(len(of))
	for _, e := range of {
		point := sum.DataPoints().AppendEmpty()
		e.putTimes(point, now)
		point.SetIntValue(e.value)
		e.putAttributes(point.Attributes(), own)
	}
}

func fillExplicit(h pmetric.Histogram, of []entry, own *ownAttributes, now pcommon.Timestamp) {
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	h.DataPoints().EnsureCapacity(len(of))
	for _, e := range of {
		point := h.DataPoints().AppendEmpty()
		e.putTimes(point, now)
		e.distribution.FillExplicit(point)
		e.putAttributes(point.Attributes(), own)
	}
}

func fillExponential(h pmetric.ExponentialHistogram, of []entry, own *ownAttributes, now pcommon.Timestamp) {
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	h.DataPoints().EnsureCapacity(len(of))
	for _, e := range of {
		point := h.DataPoints().AppendEmpty()
		e.putTimes(point, now)
		e.distribution.FillExponential(point)
		e.putAttributes(point.Attributes(), own)
	}
}

// point is a data point of any kind.
type point interface {
	SetStartTimestamp(pcommon.Timestamp)
	SetTimestamp(pcommon.Timestamp)
}

func (e *entry) putTimes(to point, now pcommon.Timestamp) {
	start := pcommon.Timestamp(e.start)
	to.SetStartTimestamp(start)
	if e.zero {
		now = start
	}
	to.SetTimestamp(now)
}

func (e *entry) putAttributes(attributes pcommon.Map, own *ownAttributes) {
	if e.overflow {
		attributes.PutBool(declared.AttrOtelMetricOverflow.Key(), true)
		return
	}
	attributes.EnsureCapacity(5)
	if e.iface != (iface{}) {
		attributes.PutStr(declared.AttrNetworkInterfaceName.Key(), e.iface.name)
		if e.iface.netns != 0 {
			attributes.PutInt(declared.AttrNetNSInode.Key(), int64(e.iface.netns))
		}
	} else {
		if e.identity.port != 0 {
			attributes.PutInt(declared.AttrServerPort.Key(), int64(e.identity.port))
		}
		if !e.identity.listener {
			attributes.PutStr(declared.AttrNetworkType.Key(), declared.NetworkType(e.identity.ipv4))
		}
		if e.identity.executable != "" {
			attributes.PutStr(declared.AttrProcessExecutableName.Key(), e.identity.executable)
		}
		if e.identity.network != "" {
			attributes.PutStr(declared.AttrClientNetwork.Key(), e.identity.network)
		}
	}
	e.dims.put(attributes, own)
}

// isOwn reports whether an attribute is neither of the attributeSet nor the direction.
func isOwn(a declared.Attribute) bool {
	switch a {
	case declared.AttrServerPort, declared.AttrNetworkType, declared.AttrProcessExecutableName,
		declared.AttrNetworkInterfaceName, declared.AttrNetNSInode, declared.AttrNetworkIODirection,
		declared.AttrOtelMetricOverflow, declared.AttrClientNetwork:
		return false
	default:
		return true
	}
}
