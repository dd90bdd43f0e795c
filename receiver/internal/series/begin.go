// SPDX-License-Identifier: Apache-2.0

package series

import (
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series/histogram"
)

// Backends such as Prometheus take the first point of a series as it is: what it counted up to
// then is no increase to them. So a series needs a point of 0 before its first value. Where all
// attributes are known beforehand, it begins at 0 before there is anything to count, for a
// scraper as well. Any other gets two points in the snapshot that has it first.

// Beginning selects a series of a listening port that begins at 0. The direction and the detail
// are "" if the metric has none.
type Beginning struct {
	Metric            declared.Metric
	Direction, Detail string
}

// SetBeginnings replaces the series that Begin makes. Only those belong there that the kernel
// side can count: a figure that nobody reads is absent, not 0. Without Options.FromZero, only
// opened connections begin at 0.
func (m *Metrics) SetBeginnings(all []Beginning) {
	list := make([]dims, 0, len(all))
	for _, b := range all {
		if m.enabled[b.Metric] && (m.options.FromZero || b.Metric == declared.MetricConnectionOpened) {
			list = append(list, dims{metric: b.Metric, direction: b.Direction, detail: b.Detail})
		}
	}
	if slices.Equal(list, m.beginnings) {
		return
	}
	m.beginnings = list
	for set := range m.store.all() {
		set.begun = false
	}
}

// Begin begins the series of a listening port at 0, and keeps them from expiring. They never take
// more than half of the series that a metric may have, because most of them may stay at 0.
func (m *Metrics) Begin(s Key) {
	if len(m.beginnings) == 0 {
		return
	}
	set := m.store.set(s)
	set.touched = true
	if set.begun {
		return
	}
	for _, d := range m.beginnings {
		if set.overflow || m.store.counts[d.metric] >= m.options.SeriesLimit/2 {
			continue
		}
		if c := m.store.series(set, d); m.bounds[d.metric] != nil {
			m.distribution(c)
		} else {
			m.begin(c)
		}
	}
	set.begun = true
}

func (m *Metrics) begin(c *series) {
	if c.start == 0 {
		c.start = m.options.Now().UnixNano()
	}
}

// BeginningOf is the series that AddCount adds to.
func BeginningOf(what connection.PortCount, detail string) Beginning {
	d, _ := portDims(what, detail)
	return Beginning{Metric: d.metric, Direction: d.direction, Detail: d.detail}
}

// NotBegun takes back what began in a message that reached nobody. It begins in the next snapshot,
// at the same time.
func (m *Metrics) NotBegun(of Begun) {
	for _, c := range of {
		c.sent = false
	}
}

// fromZero reports whether the series of a metric begin with a point of 0.
func (m *Metrics) fromZero(id declared.Metric) bool {
	return m.options.FromZero && id.Definition().Kind != declared.UpDownCounter
}

// mostBefore is how long a point of 0 comes before the first value at most. Prometheus refuses points
// of more than an hour ago, so no longer than oldest is it repeated.
const (
	mostBefore = 30 * time.Minute
	oldest     = time.Hour
)

// zero makes the first point of a counter or histogram that no snapshot had yet: 0 at the time
// of the last snapshot, when there was nothing to count. It is nil for any other series.
func (m *Metrics) zero(c *series, now int64) *series {
	if c.sent || !m.fromZero(c.metric) || c.empty() {
		return nil
	}
	if c.begun && now-c.start > int64(oldest) {
		return nil
	}
	if !c.begun {
		c.start = max(min(c.start, m.last), now-int64(mostBefore))
		c.begun = true
	}
	// Backends have milliseconds. Two points at one time would contradict each other.
	if now/int64(time.Millisecond) <= c.start/int64(time.Millisecond) {
		return nil
	}
	zero := &series{dims: c.dims, start: c.start}
	if c.metric.Definition().Kind == declared.Histogram {
		zero.distribution = histogram.New(m.bounds[c.metric], m.options.Exponential)
	}
	return zero
}
