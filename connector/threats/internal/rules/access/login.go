// SPDX-License-Identifier: Apache-2.0

package access

import (
	"slices"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// loginGuessing counts connections that are over after a key exchange and a few guesses. A check of
// the port sends less, a session sends more.
type loginGuessing struct {
	*settings.LoginGuessing
}

func newLoginGuessing(set *settings.LoginGuessing) *loginGuessing { return &loginGuessing{set} }

func (*loginGuessing) Events() []reading.Event { return []reading.Event{reading.ConnectionClose} }

func (d *loginGuessing) Judge(m *engine.Moment) {
	if !slices.Contains(d.Processes, m.Process) && !slices.Contains(d.Ports, int(m.Port)) {
		return
	}
	if m.Received < int64(d.MinBytes) || m.Received > int64(d.MaxBytes) || m.Duration > d.MaxDuration.Seconds() {
		return
	}
	about := m.About(catalogue.LoginGuessing)
	n := m.Source.Logins.Add(m.Now, d.Window, 1)
	if int(n) < d.MinConnections {
		return
	}
	m.Source.LoginCount++
	count := m.Source.LoginCount + uint64(d.MinConnections) - 1
	if !m.Due(about, count) {
		return
	}
	f := m.At(m.Finding(catalogue.LoginGuessing, count, m.Now-int64(d.Window)))
	f.Confidence = catalogue.All[catalogue.LoginGuessing].Confidence
	f.Facts = []finding.Fact{{Key: catalogue.FactConnections, Value: float64(count)}, {Key: catalogue.FactReceived, Value: float64(m.Received)}}
	m.Report(about, f)
}
