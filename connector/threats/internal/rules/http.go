// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"hash/maphash"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// httpAuth counts requests that were refused for who asked.
type httpAuth settings.HTTPAuth

func (*httpAuth) Events() []reading.Event { return []reading.Event{reading.HTTPRequest} }

func (d *httpAuth) Judge(m *Moment) {
	if m.Status != 401 && m.Status != 403 {
		return
	}
	bucket := &m.Source.Denied
	if bucket.Pour(m.Now, d.Leak) < float64(d.MinCount) {
		return
	}
	about := m.about(catalogue.HTTPAuth)
	if m.due(about, bucket.Total) {
		f := m.request(catalogue.HTTPAuth, bucket.Total, bucket.First)
		f.Facts = []finding.Fact{{Key: catalogue.FactRequests, Value: float64(bucket.Total)}}
		m.report(about, f)
	}
}

// request makes a finding about requests. The address of a client behind a proxy is the proxy's
// word.
func (m *Moment) request(rule catalogue.ID, count uint64, first int64) *finding.Finding {
	f := m.at(m.finding(rule, count, first))
	f.Spoofable = f.Peer.IsValid()
	f.Confidence = catalogue.All[rule].Confidence
	return f
}

// httpProbing counts distinct paths with answers 4xx.
type httpProbing struct {
	*settings.HTTPProbing
	seed maphash.Seed
}

func newHTTPProbing(set *settings.HTTPProbing) *httpProbing {
	return &httpProbing{set, maphash.MakeSeed()}
}

func (*httpProbing) Events() []reading.Event { return []reading.Event{reading.HTTPRequest} }

func (d *httpProbing) Judge(m *Moment) {
	failed := m.Status >= 400 && m.Status < 500 && m.Status != 401 && m.Status != 403
	p := m.Source.Probing
	if p == nil && !failed {
		return
	}
	if p == nil {
		p = &evidence.Probing{}
		m.Source.Probing = p
	}
	p.All++
	if !failed {
		return
	}
	p.Failed++
	level := p.See(uint32(maphash.String(d.seed, m.Path)), m.Now, d.Leak)
	if level < float64(d.MinPaths) || float64(p.Failed) < d.MinShare*float64(p.All) {
		return
	}
	about := m.about(catalogue.HTTPProbing)
	if m.due(about, p.Distinct) {
		f := m.request(catalogue.HTTPProbing, p.Distinct, p.Bucket.First)
		f.Facts = []finding.Fact{{Key: catalogue.FactPaths, Value: float64(p.Distinct)}, {Key: catalogue.FactRequests, Value: float64(p.All)}}
		m.report(about, f)
	}
}

// tlsFingerprint looks a client's fingerprints up in lists.
type tlsFingerprint map[string]string

func (tlsFingerprint) Events() []reading.Event { return []reading.Event{reading.TLSHandshake} }

func (d tlsFingerprint) Judge(m *Moment) {
	fingerprint := m.JA4
	label, listed := d[fingerprint]
	if !listed {
		fingerprint = m.JA3
		if label, listed = d[fingerprint]; !listed {
			return
		}
	}
	about := m.about(catalogue.TLSFingerprint)
	m.Source.Listed++
	if m.due(about, m.Source.Listed) {
		f := m.request(catalogue.TLSFingerprint, m.Source.Listed, m.Now)
		// The lists' own copy of the string.
		f.Fingerprint, f.Label = string([]byte(fingerprint)), label
		f.Facts = []finding.Fact{{Key: catalogue.FactConnections, Value: float64(m.Source.Listed)}}
		m.report(about, f)
	}
}
