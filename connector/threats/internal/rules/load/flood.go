// SPDX-License-Identifier: Apache-2.0

package load

import (
	"net/netip"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// synFlood names the service and no source: the addresses of SYNs are worth nothing. Where listeners
// don't count their SYNs, those of all sources of a network namespace are judged, and no service is
// named.
type synFlood struct {
	*settings.SYNFlood
	engine *engine.Engine
}

func (*synFlood) Events() []reading.Event { return []reading.Event{reading.Listener} }

func (d *synFlood) Judge(m *engine.Moment) {
	c, n := &m.Record.Service, m.Namespace
	if m.Port != 0 {
		m.Service.Address, m.Service.Process = m.Server, keep(m.Service.Process, m.Process)
		n.Heard, n.Own = true, n.Own || c.HasSyn
		d.step(m, &m.Service.Flood, c)
		return
	}
	n.Note(c, m.Now)
	if all := n.Handshakes(c.Interval); n.Heard && !n.Own {
		d.step(m, &n.Flood, &all)
	}
}

// step takes the handshakes of an interval.
func (d *synFlood) step(m *engine.Moment, flood *evidence.Flood, c *reading.ServiceCounts) {
	open := float64(max(0, c.Syn-c.Completed))
	normal := max(flood.Mean, d.MinRate) * c.Interval
	// The mean stands still during a flood, for the flood may keep others from completing.
	excess := open/normal - d.Drift
	if excess <= 0 {
		weight := min(1, c.Interval/evidence.Fading)
		flood.Mean += weight * (float64(c.Completed)/c.Interval - flood.Mean)
	}
	const most = 100
	flood.Sum = min(max(0, flood.Sum+excess*c.Interval), most*d.Threshold)
	if flood.Sum == 0 {
		flood.Recent, flood.Count = 0, 0
		return
	}
	if flood.Recent == 0 {
		flood.First = m.Now
	}
	flood.Recent += open
	flood.Count += open
	if flood.Sum < d.Threshold || excess <= 0 || !m.Namespace.Confirms(flood.Recent, c, m.Now) {
		return
	}
	d.report(m, flood, c)
}

func (d *synFlood) report(m *engine.Moment, flood *evidence.Flood, c *reading.ServiceCounts) {
	about := finding.Subject{Rule: uint8(catalogue.SYNFlood), Host: m.HostOf(), Service: uint64(m.Port)}
	if !m.Book.Due(about, uint64(flood.Count), m.Now) || m.Excepts(catalogue.SYNFlood, m.Server) {
		return
	}
	f := m.At(m.Finding(catalogue.SYNFlood, uint64(flood.Count), flood.First))
	f.Source, f.Prefix, f.Confidence = netip.Addr{}, netip.Prefix{}, catalogue.All[catalogue.SYNFlood].Confidence
	n := m.Namespace
	f.Facts = []finding.Fact{
		{Key: catalogue.FactSyns, Value: float64(c.Syn)},
		{Key: catalogue.FactCompleted, Value: float64(c.Completed)},
		{Key: catalogue.FactCookies, Value: n.Cookies},
		{Key: catalogue.FactEmbryonic, Value: n.Embryonic},
	}
	m.Book.Report(about, f)
}

// keep clones a string if it is another.
func keep(old, text string) string {
	if old == text {
		return old
	}
	return strings.Clone(text)
}

func (d *synFlood) Ended(about finding.Subject) {
	if catalogue.ID(about.Rule) != catalogue.SYNFlood {
		return
	}
	var flood *evidence.Flood
	if about.Service == 0 {
		if n := d.engine.Namespaces.Get(about.Host); n != nil {
			flood = &n.Flood
		}
	} else if s := d.engine.ServiceAt(about.Host, uint16(about.Service)); s != nil {
		flood = &s.Flood
	}
	if flood != nil {
		flood.Sum, flood.Count, flood.Recent = 0, 0, 0
	}
}
