// SPDX-License-Identifier: Apache-2.0

package series

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

// TestSnapshotOfManyMessages: a gRPC server accepts each message, even with long names and full
// histograms. Together they have every series once.
func TestSnapshotOfManyMessages(t *testing.T) {
	const (
		series     = 3000
		containers = 3
		grpcLimit  = 4 << 20
	)
	for _, exponential := range []bool{false, true} {
		r := newRig(Options{SeriesLimit: series, Exponential: exponential})
		for i := range series {
			s := Key{NetNS: facttest.OwnNetNS, Port: uint16(i), Workload: &owner.Workload{
				Executable: strings.Repeat("x", 64),
				Container:  owner.Container{ID: fmt.Sprintf("%064x", i%containers)},
			}}
			r.AddCount(s, connection.Opens, "", 1)
			r.IO(s, 0, 1<<40, 1<<40)
			for spread := range 20 {
				c := facttest.Closed()
				c.Time = c.Opened + 1e6<<spread
				c.SmoothedRTT, c.Handshake, c.Accept = 10<<spread, 10<<spread, 1e4<<spread
				r.Closed(s, c)
			}
		}
		var messages, points int
		seen := map[string]bool{}
		for _, message := range r.Snapshot(time.Unix(0, facttest.Epoch+1)) {
			messages++
			points += message.DataPointCount()
			assert.LessOrEqual(t, message.DataPointCount(), maxPoints)
			assert.Less(t, (&pmetric.ProtoMarshaler{}).MetricsSize(message.Metrics), grpcLimit)
			each(message.Metrics, func(resource pcommon.Resource, m pmetric.Metric) {
				assert.NotEmpty(t, resource.Attributes().Len())
				if m.Name() != "tcp.server.connection.opened" {
					return
				}
				for _, p := range m.Sum().DataPoints().All() {
					seen[fmt.Sprint(p.Attributes().AsRaw())] = true
				}
			})
		}
		require.Greater(t, messages, 3)
		require.GreaterOrEqual(t, points, 6*series)
		require.Len(t, seen, series)
	}
}
