// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
)

// TestAbsentCountersAreNoFigures: what the kernel does not give is no attribute and no
// point, not 0.
func TestAbsentCountersAreNoFigures(t *testing.T) {
	attributes := func(absent connection.Absent) (map[string]any, string) {
		l := testLogs(allEvents())
		c := testClosed()
		c.Absent = absent
		l.Closed(c, testProcess(), owner.ByAcceptor)
		record := single(t, l.Take())
		return record.Attributes().AsRaw(), record.Body().Str()
	}
	every, _ := attributes(0)
	tests := []struct {
		absent           connection.Absent
		attribute, body  string
		direction, other string
	}{
		{connection.AbsentReceivedBytes, "tcp.receive.size", "rx=", "map[network.io.direction:receive", "map[network.io.direction:transmit"},
		{connection.AbsentTransmittedBytes, "tcp.transmit.size", "tx=", "map[network.io.direction:transmit", "map[network.io.direction:receive"},
		{connection.AbsentReceivedSegments, "tcp.receive.segment.count", "", "", ""},
		{connection.AbsentTransmittedSegments, "tcp.transmit.segment.count", "", "", ""},
		{connection.AbsentRetransmits, "tcp.retransmit.count", "", "", ""},
		{connection.AbsentOutOfOrder, "tcp.out_of_order.count", "", "", ""},
	}
	for _, test := range tests {
		t.Run(test.attribute, func(t *testing.T) {
			got, body := attributes(test.absent)
			assert.Contains(t, every, test.attribute)
			assert.NotContains(t, got, test.attribute)
			assert.Len(t, got, len(every)-1)
			if test.direction == "" {
				return
			}
			assert.NotContains(t, body, test.body)
			r := newRig(MetricsOptions{})
			r.IO(web(), test.absent, 1, 1)
			points := values(r.pass(time.Second), "tcp.server.io")
			assert.Len(t, points, 1)
			for name := range points {
				assert.Contains(t, name, test.other)
			}
		})
	}
}
