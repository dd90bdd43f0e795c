// SPDX-License-Identifier: Apache-2.0

package series

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

// handshakes updates the metric with each outcome.
func handshakes(m *Metrics) {
	for outcome := tls.OutcomeUnknown; outcome <= tls.OutcomeOther; outcome++ {
		h := facttest.Handshake()
		h.Outcome = outcome
		m.Handshake(webRequests(), h)
	}
}

// TestHandshakes: what clients choose freely makes no series.
func TestHandshakes(t *testing.T) {
	r := newRig(Options{})
	for i := range 100 {
		h := facttest.Handshake()
		h.Hello.Protocols = fmt.Appendf([]byte{3}, "x%02d", i)
		h.Hello.Name = fmt.Appendf(nil, "%d.example", i)
		r.Handshake(webRequests(), h)
	}
	failed := facttest.Handshake()
	failed.Outcome, failed.Alert, failed.Version = tls.OutcomeAlert, 112, 0
	r.Handshake(webRequests(), failed)
	got := map[string]int64{}
	each(r.pass(time.Second), func(_ pcommon.Resource, m pmetric.Metric) {
		if m.Name() != "tcp.server.tls.handshakes" {
			return
		}
		for _, p := range m.Sum().DataPoints().All() {
			a := p.Attributes().AsRaw()
			key := fmt.Sprint(a["tls.protocol.version"], " ", a["tcp.tls.client.protocol"], " ", a["tcp.tls.outcome"], " ", a["error.type"])
			got[key] += p.IntValue()
		}
	})
	assert.Equal(t, map[string]int64{
		"1.2 _OTHER completed <nil>":        100,
		"<nil> h2 failed unrecognized_name": 1,
	}, got)
}
