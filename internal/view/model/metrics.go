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
	service ServiceKey
	metric  string
	// what tells series of a service apart that are added up, such as those of IPv4 and IPv6.
	what string
}

// reading is the value of a series and when it was read.
type reading struct {
	value float64
	at    time.Time
}

// labels are what is read of a data point.
type labels struct {
	key       ServiceKey
	networks  string
	direction string
	reason    string
}

// Metrics takes a snapshot of metrics.
func (m *Model) Metrics(md pmetric.Metrics) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.sweep(now)
	// Levels are of this snapshot. Those of one service add up.
	fresh := make(map[ServiceKey]bool)
	for _, resource := range md.ResourceMetrics().All() {
		host := ""
		if value, ok := resource.Resource().Attributes().Get("host.name"); ok {
			host = clean.String(value.AsString())
		}
		for _, scope := range resource.ScopeMetrics().All() {
			for _, metric := range scope.Metrics().All() {
				if metric.Type() != pmetric.MetricTypeSum {
					continue
				}
				for _, point := range metric.Sum().DataPoints().All() {
					m.point(now, host, metric.Name(), point, fresh)
				}
			}
		}
	}
}

func (m *Model) point(now time.Time, host, name string, point pmetric.NumberDataPoint, fresh map[ServiceKey]bool) {
	switch name {
	case "tcp.server.connection.active", "tcp.server.connection.opened", "tcp.server.connection.failed", "tcp.server.io",
		"tcp.server.accept_queue.length", "tcp.server.accept_queue.limit", "tcp.server.accept_queue.overflows":
	default:
		return
	}
	l := read(host, point.Attributes())
	if l.key.Port == 0 {
		return
	}
	s := m.service(l.key)
	if s == nil {
		return
	}
	if !fresh[l.key] {
		fresh[l.key] = true
		s.open, s.queued, s.limit = 0, -1, -1
	}
	value := number(point)
	switch name {
	case "tcp.server.connection.active":
		s.open += int64(value)
	case "tcp.server.accept_queue.length":
		s.queued = max(s.queued, 0) + int64(value)
	case "tcp.server.accept_queue.limit":
		s.limit = max(s.limit, 0) + int64(value)
	case "tcp.server.connection.opened":
		m.count(now, &s.opened, l, name, point)
	case "tcp.server.connection.failed":
		m.count(now, &s.failed, l, name, point)
	case "tcp.server.accept_queue.overflows":
		m.count(now, &s.overflow, l, name, point)
	case "tcp.server.io":
		if l.direction == "receive" {
			m.count(now, &s.received, l, name, point)
		} else {
			m.count(now, &s.sent, l, name, point)
		}
	}
}

// count adds to a rate what a cumulative series has more.
func (m *Model) count(now time.Time, r *rate, l labels, name string, point pmetric.NumberDataPoint) {
	if start := point.StartTimestamp().AsTime(); !start.Before(m.started) && start.Before(now) {
		r.begin(start)
	}
	r.add(now, m.more(now, l, name, point))
}

// more is what a cumulative series has more than when it was last read. One that begins later than
// the model counts from 0.
func (m *Model) more(now time.Time, l labels, name string, point pmetric.NumberDataPoint) float64 {
	k := seriesKey{l.key, name, l.networks + " " + l.direction + " " + l.reason}
	value := number(point)
	before, known := m.series[k]
	if !known && len(m.series) >= maxSeries {
		m.others++
		return 0
	}
	m.series[k] = reading{value, now}
	switch {
	case known && value >= before.value:
		return value - before.value
	case known, !point.StartTimestamp().AsTime().Before(m.started):
		return value // it began anew
	}
	return 0
}

func read(host string, attributes pcommon.Map) labels {
	l := labels{key: ServiceKey{Host: host}}
	for key, value := range attributes.All() {
		switch key {
		case "server.port":
			if n := value.Int(); n > 0 && n <= math.MaxUint16 {
				l.key.Port = uint16(n)
			}
		case "process.executable.name":
			l.key.Process = clean.String(value.AsString())
		case "network.type":
			l.networks = clean.String(value.AsString())
		case "network.io.direction":
			l.direction = clean.String(value.AsString())
		case "error.type":
			l.reason = clean.String(value.AsString())
		}
	}
	return l
}

func number(point pmetric.NumberDataPoint) float64 {
	if point.ValueType() == pmetric.NumberDataPointValueTypeDouble {
		return point.DoubleValue()
	}
	return float64(point.IntValue())
}
