// SPDX-License-Identifier: Apache-2.0

package web

import (
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// tlsFingerprint looks a client's fingerprints up in lists, and counts those of each service.
type tlsFingerprint struct {
	*settings.TLSFingerprint
	lists map[string]string
}

func (*tlsFingerprint) Events() []reading.Event { return []reading.Event{reading.TLSHandshake} }

func (d *tlsFingerprint) Judge(m *engine.Moment) {
	if !d.listed(m, m.JA4) {
		d.listed(m, m.JA3)
	}
	if d.Rare {
		d.rare(m)
	}
}

// listed tells whether a list has the fingerprint.
func (d *tlsFingerprint) listed(m *engine.Moment, fingerprint string) bool {
	label, listed := d.lists[fingerprint]
	if !listed {
		return false
	}
	about := m.About(catalogue.TLSFingerprint)
	m.Source.Listed++
	if m.Due(about, m.Source.Listed) {
		f := m.Request(catalogue.TLSFingerprint, m.Source.Listed, m.Now)
		// The lists' own copy of the string.
		f.Fingerprint, f.Label = string([]byte(fingerprint)), label
		f.Facts = []finding.Fact{{Key: catalogue.FactConnections, Value: float64(m.Source.Listed)}}
		m.Report(about, f)
	}
	return true
}

// rare finds clients with a fingerprint that few handshakes of the service have.
func (d *tlsFingerprint) rare(m *engine.Moment) {
	fingerprint := m.JA4
	if fingerprint == "" {
		fingerprint = m.JA3
	}
	if fingerprint == "" {
		return
	}
	m.Serve()
	if m.Service.Prints == nil {
		m.Service.Prints = &evidence.Prints{}
	}
	prints := m.Service.Prints
	share := prints.Add(reading.Hash(m.Config.Key, fingerprint))
	if prints.Total < uint64(d.MinHandshakes) || share > d.MaxShare {
		return
	}
	m.Source.Rare++
	about := m.About(catalogue.TLSFingerprint)
	about.Host, about.Service = m.HostOf(), uint64(m.Port)
	if m.Due(about, m.Source.Rare) {
		f := m.Request(catalogue.TLSFingerprint, m.Source.Rare, m.Now)
		f.Fingerprint, f.Confidence = string([]byte(fingerprint)), rareConfidence
		f.Facts = []finding.Fact{
			{Key: catalogue.FactConnections, Value: float64(m.Source.Rare)},
			{Key: catalogue.FactHandshakes, Value: float64(prints.Total)},
			{Key: catalogue.FactShare, Value: share},
		}
		m.Report(about, f)
	}
}

// rareConfidence is how sure it is that a rare fingerprint means an attack: not very.
const rareConfidence = 0.2
