// SPDX-License-Identifier: Apache-2.0

package series

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

func TestHostileStringsInMetrics(t *testing.T) {
	t.Parallel()
	for _, exponential := range []bool{false, true} {
		r := newRig(Options{HostName: facttest.Hostile, Exponential: exponential})
		everything(r.Metrics)
		s := Key{Port: 80, IPv4: true, Workload: facttest.Poison(facttest.Process().Workload)}
		r.AddCount(s, connection.Opens, "", 1)
		r.Closed(s, facttest.Poison(facttest.Closed()))
		r.AddCount(s, connection.Drops, "no_socket", 1)
		one, other := testInterface(false), testInterface(false)
		one.Name, other.Name = "e\xff", "e\xfe"
		r.SetInterface(one)
		r.SetInterface(other)
		data := r.pass(time.Second)
		raw, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(data)
		require.NoError(t, err)
		facttest.RequireHarmless(t, raw, &metricspb.MetricsData{})
		requireDistinct(t, data)
	}
}

// requireDistinct fails if two points of one metric have the same attributes, as when cleaning
// makes two names equal.
func requireDistinct(t *testing.T, data pmetric.Metrics) {
	t.Helper()
	for _, resource := range data.ResourceMetrics().All() {
		for _, scope := range resource.ScopeMetrics().All() {
			for _, m := range scope.Metrics().All() {
				if m.Type() != pmetric.MetricTypeSum {
					continue
				}
				points := m.Sum().DataPoints()
				for i := range points.Len() {
					for j := range i {
						require.False(t, points.At(i).Attributes().Equal(points.At(j).Attributes()), m.Name())
					}
				}
			}
		}
	}
}
