// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series"
)

// begin begins the series of each listening port at 0, for each IP version that it accepts. A port
// that is not selected has none: nobody counts there.
func (o *Observer) begin(s *probe.Snapshot) {
	o.metrics.SetBeginnings(beginnings(s, len(o.networks) > 0))
	for l := range o.owners.listeners.All() {
		address, port := l.Address.Addr(), l.Address.Port()
		if !o.selected(port) {
			continue
		}
		if address.Is4() || address.IsUnspecified() {
			o.metrics.Begin(o.seriesOfPort(l.NetNS, port, true))
		}
		if !address.Is4() {
			o.metrics.Begin(o.seriesOfPort(l.NetNS, port, false))
		}
	}
}

// beginnings are the series that the hooks can count. Those of connections have unknown attributes
// if their clients are grouped.
func beginnings(s *probe.Snapshot, grouped bool) []series.Beginning {
	attached := make(map[string]bool, len(s.Hooks))
	for i := range s.Hooks {
		attached[s.Hooks[i].Feature] = attached[s.Hooks[i].Feature] || s.Hooks[i].Attached
	}
	var all []series.Beginning
	add := func(known bool, b ...series.Beginning) {
		if known {
			all = append(all, b...)
		}
	}
	count := series.BeginningOf
	connections := attached[probe.FeatureConnection]
	add(connections, count(connection.Opens, ""))
	connections = connections && !grouped
	add(connections && !s.Absent.Has(connection.AbsentReceivedBytes),
		series.Beginning{Metric: declared.MetricIO, Direction: declared.DirectionReceive})
	add(connections && !s.Absent.Has(connection.AbsentTransmittedBytes),
		series.Beginning{Metric: declared.MetricIO, Direction: declared.DirectionTransmit})
	add(connections, series.Beginning{Metric: declared.MetricConnectionDuration},
		series.Beginning{Metric: declared.MetricRTT}, series.Beginning{Metric: declared.MetricHandshakeDuration})
	add(connections && attached[probe.FeatureAccept], series.Beginning{Metric: declared.MetricAcceptDuration})
	add(attached[probe.FeatureRetransmit], count(connection.Retransmits, ""))
	add(attached[probe.FeatureSYNACKRetransmit], count(connection.SYNACKRetransmits, ""))
	add(attached[probe.FeatureResetSent], count(connection.ResetsSent, ""))
	add(attached[probe.FeatureResetReceived], count(connection.ResetsReceived, ""))
	// A hook sees overflows of IPv4 alone.
	add(attached[probe.FeatureOverflowSYN] && attached[probe.FeatureOverflowACK] && attached[probe.FeatureOverflowACK6],
		count(connection.Failures, connection.FailureAcceptQueueOverflow.String()))
	if s.HalfOpen && attached[probe.FeaturePacket] {
		for _, failure := range []connection.Failure{connection.FailureHandshakeTimeout, connection.FailureReset} {
			add(true, count(connection.Failures, failure.String()))
		}
	}
	return all
}
