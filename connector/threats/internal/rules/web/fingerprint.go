// SPDX-License-Identifier: Apache-2.0

package web

import (
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
)

// tlsFingerprint looks a client's fingerprints up in lists.
type tlsFingerprint map[string]string

func (tlsFingerprint) Events() []reading.Event { return []reading.Event{reading.TLSHandshake} }

func (d tlsFingerprint) Judge(m *engine.Moment) {
	fingerprint := m.JA4
	label, listed := d[fingerprint]
	if !listed {
		fingerprint = m.JA3
		if label, listed = d[fingerprint]; !listed {
			return
		}
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
}
