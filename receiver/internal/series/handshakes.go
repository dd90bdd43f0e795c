// SPDX-License-Identifier: Apache-2.0

package series

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// Values of tcp.tls.outcome.
const (
	outcomeCompleted = "completed"
	outcomeFailed    = "failed"
	outcomeUnknown   = "unknown"
)

// Handshake counts a TLS handshake. The key is that of its listener.
func (m *Metrics) Handshake(s Key, h *tls.Handshake) {
	if !m.enabled[declared.MetricTLSHandshakes] {
		return
	}
	outcome := outcomeFailed
	switch h.Outcome {
	case tls.OutcomeCompleted:
		outcome = outcomeCompleted
	case tls.OutcomeUnknown:
		outcome = outcomeUnknown
	}
	// In the order of the metric's declaration.
	m.addTuple(m.store.set(s), declared.MetricTLSHandshakes, &tuple{
		text: [maxTexts]string{tls.VersionName(h.Version), firstProtocol(h), outcome, h.ErrorType()},
	})
}

// firstProtocol is the first protocol that ALPN offers, as a value of few.
func firstProtocol(h *tls.Handshake) string {
	for name := range h.Hello.Protocol {
		for _, known := range []string{
			"h2", "http/1.1", "http/1.0", "acme-tls/1", "postgresql", "imap", "pop3", "managesieve", "mqtt", "dot",
			"xmpp-client", "xmpp-server", "ftp", "irc", "ntske/1", "tds/8.0", "stun.turn", "webrtc", "c-webrtc",
		} {
			if string(name) == known {
				return known
			}
		}
		return declared.ErrorOther
	}
	return ""
}

// addTuple adds 1 to a metric with several attributes of its own. Without room for the values,
// it goes into the overflow series.
func (m *Metrics) addTuple(set *attributeSet, id declared.Metric, values *tuple) {
	d := dims{metric: id, more: m.store.tuples.intern(values, families*m.options.SeriesLimit)}
	if d.more == nil {
		set = m.store.overflow
	}
	m.add(set, d, 1)
}
