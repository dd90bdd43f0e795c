// SPDX-License-Identifier: Apache-2.0

package model

import (
	"math"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// maxSeries is how many cumulative series are followed.
const maxSeries = 16 * maxServices

// seriesKey is a cumulative series of one service.
type seriesKey struct {
	labels
	metric string
}

// reading is the value of a series and when it was read.
type reading struct {
	value float64
	at    time.Time
}

// labels are what is read of a data point, and of its resource. They tell series of a service apart
// that are added up: those of two containers, of IPv4 and IPv6, of reasons or groups of clients.
type labels struct {
	key       ServiceKey
	instance  string
	container string
	network   string
	direction string
	reason    string
	group     string
}

// Metrics takes a snapshot of metrics.
func (m *Model) Metrics(md pmetric.Metrics) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.sweep(now)
	m.noteInterval(now)
	for _, resource := range md.ResourceMetrics().All() {
		of := origin(resource.Resource())
		for _, scope := range resource.ScopeMetrics().All() {
			for _, metric := range scope.Metrics().All() {
				if metric.Type() != pmetric.MetricTypeSum {
					continue
				}
				for _, point := range metric.Sum().DataPoints().All() {
					m.point(now, of.read(point.Attributes()), metric.Name(), point)
				}
			}
		}
	}
}

// noteInterval keeps the time between two snapshots of metrics. The messages of one come at once.
func (m *Model) noteInterval(now time.Time) {
	if since := int64(now.Sub(m.last) / time.Second); since > 0 {
		m.window = max(shortest, min(longest, since))
		m.last = now
	}
}

// origin reads a resource.
func origin(resource pcommon.Resource) labels {
	var l labels
	for key, value := range resource.Attributes().All() {
		switch key {
		case "host.name":
			l.key.Host = clean.String(value.AsString())
		case "service.instance.id":
			l.instance = clean.String(value.AsString())
		case "container.id":
			l.container = clean.String(value.AsString())
		}
	}
	return l
}

func (m *Model) point(now time.Time, l labels, name string, point pmetric.NumberDataPoint) {
	switch name {
	case "tcp.server.connection.active", "tcp.server.connection.opened", "tcp.server.connection.failed", "tcp.server.io",
		"tcp.server.accept_queue.length", "tcp.server.accept_queue.limit", "tcp.server.accept_queue.overflows":
	default:
		return
	}
	value, finite := number(point)
	if l.key.Port == 0 || !finite {
		return
	}
	s := m.service(l.key)
	if s == nil {
		return
	}
	// Levels of one snapshot add up, also if they come in several messages.
	at := point.Timestamp()
	if at == 0 { // it may be left out
		at = pcommon.NewTimestampFromTime(now)
	}
	if s.levels != at {
		s.levels = at
		s.open, s.queued, s.limit = 0, -1, -1
	}
	switch name {
	case "tcp.server.connection.active":
		s.open += int64(value)
	case "tcp.server.accept_queue.length":
		s.queued = max(s.queued, 0) + int64(value)
	case "tcp.server.accept_queue.limit":
		s.limit = max(s.limit, 0) + int64(value)
	case "tcp.server.connection.opened":
		m.count(now, &s.opened, seriesKey{l, name}, value, point)
	case "tcp.server.connection.failed":
		m.count(now, &s.failed, seriesKey{l, name}, value, point)
	case "tcp.server.accept_queue.overflows":
		m.count(now, &s.overflow, seriesKey{l, name}, value, point)
	case "tcp.server.io":
		if l.direction == "receive" {
			m.count(now, &s.received, seriesKey{l, name}, value, point)
		} else {
			m.count(now, &s.sent, seriesKey{l, name}, value, point)
		}
	}
}

// count adds to a rate what a cumulative series has more than when it was last read. One that begins
// later than the model, or again, counts from 0 and from its start.
func (m *Model) count(now time.Time, r *rate, k seriesKey, value float64, point pmetric.NumberDataPoint) {
	before, known := m.series[k]
	if !known && len(m.series) >= maxSeries {
		m.others++
		return
	}
	m.series[k] = reading{value, now}
	switch start := point.StartTimestamp().AsTime(); {
	case known && value >= before.value:
		r.spread(before.at, now, value-before.value)
	case known:
		r.spread(before.at, now, value)
	case !start.Before(m.started) && start.Before(now):
		r.spread(start, now, value)
	}
}

// read adds what a point has. The order of its attributes means nothing.
func (l labels) read(attributes pcommon.Map) labels {
	for key, value := range attributes.All() {
		switch key {
		case "server.port":
			if n := value.Int(); n > 0 && n <= math.MaxUint16 {
				l.key.Port = uint16(n)
			}
		case "process.executable.name":
			l.key.Process = clean.String(value.AsString())
		case "network.io.direction":
			l.direction = clean.String(value.AsString())
		case "network.type":
			l.network = clean.String(value.AsString())
		case "error.type":
			l.reason = clean.String(value.AsString())
		case "client.network":
			l.group = clean.String(value.AsString())
		}
	}
	return l
}

// number is the value of a point, and whether one can count with it.
func number(point pmetric.NumberDataPoint) (value float64, finite bool) {
	if point.ValueType() == pmetric.NumberDataPointValueTypeDouble {
		value = point.DoubleValue()
		return value, math.Abs(value) < math.MaxInt64
	}
	return float64(point.IntValue()), true
}
