// SPDX-License-Identifier: Apache-2.0

package load

import (
	"net/netip"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// inARow is how many intervals in a row are harm, where one may be chance.
const inARow = 3

// overload finds harm. A rate alone tells nothing: a benchmark and a flood are the same.
type overload struct{ *settings.Overload }

func (*overload) Events() []reading.Event {
	return []reading.Event{reading.Listener, reading.Source}
}

func (d *overload) Judge(m *engine.Moment) {
	if m.Event == reading.Source {
		if n := m.Record.Source.Completed; n > 0 {
			const stretch = int64(10 * time.Second)
			m.Namespace.Top.Add(m.Now, stretch, m.Key, m.Client, float64(n), &m.Sighting.Share)
		}
		return
	}
	if m.Port == 0 || !d.harmed(m) {
		return
	}
	harm := &m.Service.Harm
	if harm.Intervals == 0 {
		harm.First = m.Now
	}
	harm.Intervals++
	if m.Book.IsOpen(finding.Subject{Rule: uint8(catalogue.SYNFlood), Host: m.HostOf(), Service: uint64(m.Port)}) {
		return // the harm has a cause that has a rule
	}
	d.report(m, harm)
}

// harmed tells whether the interval hurt the clients of the service.
func (d *overload) harmed(m *engine.Moment) bool {
	c, harm := &m.Record.Service, &m.Service.Harm
	full := c.QueueLimit > 0 && float64(c.QueueLength) >= d.QueueFill*float64(c.QueueLimit)
	slow := harm.Accept > 0 && c.Accept > d.MinAccept.Seconds() && c.Accept > d.AcceptTimes*harm.Accept
	harm.Full, harm.Slow = streak(harm.Full, full), streak(harm.Slow, slow)
	if c.Accept >= 0 && !slow {
		if harm.Accept == 0 {
			harm.Accept = max(c.Accept, 1e-6)
		}
		harm.Accept += min(1, c.Interval/evidence.Fading) * (c.Accept - harm.Accept)
	}
	// Handshakes by cookies are harm where they complete: the queue is full of real clients.
	cookies := m.Namespace.Cookies > 0 && m.Now-m.Namespace.Since < int64(time.Minute) && full &&
		c.Syn > 0 && 2*c.Completed >= c.Syn
	return c.Overflow > 0 || cookies || harm.Full >= inARow || harm.Slow >= inARow
}

func streak(n int, more bool) int {
	if !more {
		return 0
	}
	return n + 1
}

// report names the service, and the sources whose share is far over that of the others.
func (d *overload) report(m *engine.Moment, harm *evidence.Harm) {
	about := finding.Subject{Rule: uint8(catalogue.Overload), Host: m.HostOf(), Service: uint64(m.Port)}
	if !m.Book.Due(about, harm.Intervals, m.Now) || m.Excepts(catalogue.Overload, m.Server) {
		return
	}
	c := &m.Record.Service
	f := m.At(m.Finding(catalogue.Overload, harm.Intervals, harm.First))
	f.Source, f.Prefix, f.Confidence = netip.Addr{}, netip.Prefix{}, catalogue.All[catalogue.Overload].Confidence
	f.Facts = []finding.Fact{
		{Key: catalogue.FactOverflows, Value: float64(c.Overflow)},
		{Key: catalogue.FactQueueLength, Value: float64(c.QueueLength)},
		{Key: catalogue.FactQueueLimit, Value: float64(c.QueueLimit)},
	}
	if c.Accept >= 0 {
		f.Facts = append(f.Facts, finding.Fact{Key: catalogue.FactAccept, Value: c.Accept})
	}
	for _, by := range m.Namespace.Top.Far(d.ShareTimes) {
		if m.Excepts(catalogue.Overload, by.Address) {
			continue
		}
		f.SourceCount++
		if len(f.Sources) < engine.MaxNamed {
			f.Sources = append(f.Sources, m.Text(by.Address))
		}
	}
	if f.SourceCount == 1 {
		for _, by := range m.Namespace.Top.Far(d.ShareTimes) {
			f.Source, f.Prefix = by.Address, m.PrefixOf(by.Address)
		}
	}
	m.Book.Report(about, f)
}
