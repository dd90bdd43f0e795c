// SPDX-License-Identifier: Apache-2.0

package load

import (
	"math"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// slowHold finds sources with many open connections that send something, and to which the server
// has sent nothing. It needs to know that this server usually answers: some protocols never do.
type slowHold settings.SlowHold

func (*slowHold) Events() []reading.Event {
	return []reading.Event{reading.Source, reading.Listener}
}

func (d *slowHold) Judge(m *engine.Moment) {
	c := &m.Record.Source
	if m.Event == reading.Listener {
		if m.Port != 0 {
			m.Service.Answers(&m.Record.Service)
		}
		return
	}
	if int(c.SilentOpen) < d.MinConnections || c.SilentPort == 0 || c.SilentPort > math.MaxUint16 {
		return
	}
	port := uint16(c.SilentPort)
	service := m.ServiceAt(m.HostOf(), port)
	if service == nil || service.Answered(float64(c.SilentOpen)) < d.MinAnswered {
		return
	}
	about := m.About(catalogue.SlowHold)
	about.Host, about.Service = m.HostOf(), uint64(port)
	if !m.Due(about, uint64(c.SilentOpen)) {
		return
	}
	f := m.Finding(catalogue.SlowHold, uint64(c.SilentOpen), m.Now)
	f.Server, f.Port, f.Process = service.Address, port, service.Process
	f.Confidence = catalogue.All[catalogue.SlowHold].Confidence
	f.Facts = []finding.Fact{{Key: catalogue.FactSilent, Value: float64(c.SilentOpen)}}
	if c.ReceiveRate > 0 {
		f.Facts = append(f.Facts, finding.Fact{Key: catalogue.FactReceiveRate, Value: c.ReceiveRate})
	}
	m.Report(about, f)
}
