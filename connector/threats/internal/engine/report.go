// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
)

// MaxNamed is how many sources of a set are named.
const MaxNamed = 20

// About is the subject of a rule's finding about the record's source.
func (m *Moment) About(rule catalogue.ID) finding.Subject {
	return finding.Subject{Rule: uint8(rule), Hi: m.Key.Hi, Lo: m.Key.Lo, Scope: m.Key.Scope}
}

// Due notes evidence. It reports whether a finding must be told.
func (m *Moment) Due(about finding.Subject, count uint64) bool {
	return m.Book.Due(about, count, m.Now) && !m.Excepts(catalogue.ID(about.Rule), m.Client)
}

// Excepts tells whether an exception silences a finding, and counts it.
func (e *Engine) Excepts(rule catalogue.ID, addr netip.Addr) bool {
	for _, p := range e.except[rule] {
		if p.Contains(addr) {
			e.excepted[rule]++
			return true
		}
	}
	return false
}

// Finding makes what is common to findings about a source.
func (m *Moment) Finding(rule catalogue.ID, count uint64, first int64) *finding.Finding {
	f := &finding.Finding{
		At: m.Now, First: min(first, m.Now), Last: m.Now, Count: count,
		Confidence: 1, Spoofable: catalogue.All[rule].Spoofable,
		Source: m.Client, Prefix: m.PrefixOf(m.Client),
	}
	if m.Peer.IsValid() && m.Peer != m.Client {
		f.Peer = m.Peer
	}
	if m.Host != "" {
		f.Hosts = []string{strings.Clone(m.Host)}
	}
	return f
}

// At adds the record's service to a finding.
func (m *Moment) At(f *finding.Finding) *finding.Finding {
	f.Server, f.Port, f.Process = m.Server, m.Port, strings.Clone(m.Process)
	return f
}

// Report tells of a finding about the record's source, and keeps what is known of the source.
func (m *Moment) Report(about finding.Subject, f *finding.Finding) {
	m.Sources.Keep(m.Key)
	if hosts := m.Source; hosts != nil && len(hosts.Hosts) > 0 && catalogue.ID(about.Rule) == catalogue.PortScan {
		f.Hosts = slices.Clone(hosts.Hosts)
	}
	m.Book.Report(about, f)
}

// Request makes a finding about requests. The address of a client behind a proxy is the proxy's
// word.
func (m *Moment) Request(rule catalogue.ID, count uint64, first int64) *finding.Finding {
	f := m.At(m.Finding(rule, count, first))
	f.Spoofable = f.Peer.IsValid()
	f.Confidence = catalogue.All[rule].Confidence
	return f
}

// ended tells the detectors that a finding is over.
func (e *Engine) ended(about finding.Subject) {
	for _, d := range e.detectors {
		if d, ok := d.(Ender); ok {
			d.Ended(about)
		}
	}
}
