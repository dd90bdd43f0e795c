// SPDX-License-Identifier: Apache-2.0

package web

import (
	"hash/maphash"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// httpProbing counts distinct paths with answers 4xx.
type httpProbing struct {
	*settings.HTTPProbing
	seed maphash.Seed
}

func newHTTPProbing(set *settings.HTTPProbing) *httpProbing {
	return &httpProbing{set, maphash.MakeSeed()}
}

func (*httpProbing) Events() []reading.Event { return []reading.Event{reading.HTTPRequest} }

func (d *httpProbing) Judge(m *engine.Moment) {
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
	about := m.About(catalogue.HTTPProbing)
	if m.Due(about, p.Distinct) {
		f := m.Request(catalogue.HTTPProbing, p.Distinct, p.Bucket.First)
		f.Facts = []finding.Fact{{Key: catalogue.FactPaths, Value: float64(p.Distinct)}, {Key: catalogue.FactRequests, Value: float64(p.All)}}
		m.Report(about, f)
	}
}
