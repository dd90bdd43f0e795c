// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// stealthScan counts impossible flags, and the ports that got them.
type stealthScan settings.StealthScan

func (*stealthScan) Events() []reading.Event { return []reading.Event{reading.Source} }

// Judge: a segment without a port of its own is a retransmission, so that ports and segments both
// have to be enough.
func (d *stealthScan) Judge(m *engine.Moment) {
	c, seen := &m.Record.Source, m.Sighting
	impossible := c.Impossible()
	if impossible == 0 {
		return
	}
	flags := seen.Flags.Add(m.Now, d.Window, uint32(min(impossible, 1<<24)))
	seen.Counts[0] += uint64(impossible)
	if int(flags) < d.MinPorts || int(c.PortStray) < d.MinPorts {
		return
	}
	about := m.About(catalogue.StealthScan)
	if !m.Due(about, uint64(c.PortStray)) {
		return
	}
	f := m.Finding(catalogue.StealthScan, uint64(c.PortStray), m.Now)
	f.Facts = []finding.Fact{
		{Key: catalogue.FactPortsStray, Value: float64(c.PortStray)},
		{Key: catalogue.FactSegments, Value: float64(seen.Counts[0])},
	}
	m.Report(about, f)
}

// outOfStateScan counts new ports with segments of no connection. Those with impossible flags are
// another rule's.
type outOfStateScan settings.OutOfStateScan

func (*outOfStateScan) Events() []reading.Event { return []reading.Event{reading.Source} }

func (d *outOfStateScan) Judge(m *engine.Moment) {
	c, seen := &m.Record.Source, m.Sighting
	fresh := max(0, c.PortStray-seen.Stray)
	seen.Stray = max(seen.Stray, c.PortStray)
	if c.ResetOther == 0 {
		return
	}
	if c.Impossible() > 0 {
		// Ports of both kinds are counted together.
		fresh = max(0, fresh-c.Impossible())
	}
	resets := seen.Resets.Add(m.Now, d.Window, uint32(min(c.ResetOther, 1<<24)))
	ports := seen.Strays.Add(m.Now, d.Window, uint32(min(fresh, 1<<16)))
	seen.Counts[1] += uint64(c.ResetOther)
	about := m.About(catalogue.OutOfStateScan)
	open := m.Book.IsOpen(about)
	if !open && (int(resets) < d.MinPorts || int(ports) < d.MinPorts) {
		return
	}
	seen.Counts[2] += uint64(fresh)
	count := max(seen.Counts[2], uint64(ports))
	if !m.Due(about, count) {
		return
	}
	f := m.Finding(catalogue.OutOfStateScan, count, m.Now)
	f.Facts = []finding.Fact{
		{Key: catalogue.FactPortsStray, Value: float64(count)},
		{Key: catalogue.FactSegments, Value: float64(seen.Counts[1])},
	}
	m.Report(about, f)
}
