// SPDX-License-Identifier: Apache-2.0

package access

import (
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// httpAuth counts requests that were refused for who asked.
type httpAuth settings.HTTPAuth

func (*httpAuth) Events() []reading.Event { return []reading.Event{reading.HTTPRequest} }

func (d *httpAuth) Judge(m *engine.Moment) {
	if m.Status != 401 && m.Status != 403 {
		return
	}
	bucket := &m.Source.Denied
	if bucket.Pour(m.Now, d.Leak) < float64(d.MinCount) {
		return
	}
	about := m.About(catalogue.HTTPAuth)
	if m.Due(about, bucket.Total) {
		f := m.Request(catalogue.HTTPAuth, bucket.Total, bucket.First)
		f.Facts = []finding.Fact{{Key: catalogue.FactRequests, Value: float64(bucket.Total)}}
		m.Report(about, f)
	}
}
