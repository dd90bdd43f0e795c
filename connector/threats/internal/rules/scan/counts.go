// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"net/netip"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// counts are the rules that count segments which nobody sends by accident.
type counts struct {
	land, portZero, bogon, malformed *settings.Count
	bogons                           []netip.Prefix
	// begins has a bit for what the first 16 bits of a bogon can be, for each IP version.
	begins [2][1 << 16 / 64]uint64
}

func newCounts(r *settings.Rules) *counts {
	d := &counts{land: &r.Land, portZero: &r.PortZero, bogon: &r.Bogon, malformed: &r.Malformed, bogons: bogons()}
	for _, p := range d.bogons {
		version, first := begin(p.Addr())
		for n := range 1 << max(0, 16-p.Bits()) {
			d.begins[version][(first+n)/64] |= 1 << ((first + n) % 64)
		}
	}
	return d
}

// begin has the first 16 bits of an address, and 1 for IPv6.
func begin(a netip.Addr) (version, bits int) {
	if a.Is4() {
		raw := a.As4()
		return 0, int(raw[0])<<8 | int(raw[1])
	}
	raw := a.As16()
	return 1, int(raw[0])<<8 | int(raw[1])
}

// mayBeBogon saves most sources the comparison with each prefix.
func (d *counts) mayBeBogon(a netip.Addr) bool {
	version, first := begin(a)
	return d.begins[version][first/64]>>(first%64)&1 != 0
}

// bogons are sources that no network routes (RFC 6890). Private networks and loopback are left
// out: there they are ordinary.
func bogons() []netip.Prefix {
	var prefixes []netip.Prefix
	for _, p := range []string{
		"0.0.0.0/8", "192.0.0.0/29", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"::/128", "100::/64", "2001:db8::/32", "3fff::/20", "ff00::/8",
	} {
		prefixes = append(prefixes, netip.MustParsePrefix(p))
	}
	return prefixes
}

func (*counts) Events() []reading.Event { return []reading.Event{reading.Source} }

func (d *counts) Judge(m *engine.Moment) {
	c := &m.Record.Source
	d.count(m, catalogue.Land, d.land, c.Land)
	d.count(m, catalogue.PortZero, d.portZero, c.PortZero)
	d.count(m, catalogue.Malformed, d.malformed, c.Malformed)
	if !d.bogon.Enabled || !d.mayBeBogon(m.Client) {
		return
	}
	for _, p := range d.bogons {
		if p.Contains(m.Client) {
			d.count(m, catalogue.Bogon, d.bogon, c.SynListening+c.SynClosed+c.Impossible()+c.ResetOther+c.Malformed)
			return
		}
	}
}

// count adds what the interval brought.
func (d *counts) count(m *engine.Moment, rule catalogue.ID, set *settings.Count, n int64) {
	if n == 0 || !set.Enabled {
		return
	}
	total := &m.Sighting.Segments[rule-catalogue.Land]
	if *total == 0 {
		m.Sighting.FirstSegment = m.Now
	}
	*total += uint64(n)
	if *total < uint64(set.MinCount) {
		return
	}
	about := m.About(rule)
	about.Host = m.HostOf()
	if !m.Due(about, *total) {
		return
	}
	f := m.Finding(rule, *total, m.Sighting.FirstSegment)
	f.Facts = []finding.Fact{{Key: catalogue.FactSegments, Value: float64(*total)}}
	m.Report(about, f)
}
