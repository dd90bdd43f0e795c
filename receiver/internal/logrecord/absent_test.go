// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

// TestAbsentCountersAreNoFigures: a counter that the kernel does not provide is absent, not 0.
func TestAbsentCountersAreNoFigures(t *testing.T) {
	attributes := func(absent connection.Absent) (map[string]any, string) {
		l := testLogs(allEvents())
		c := facttest.Closed()
		c.Absent = absent
		l.Closed(c, 0, facttest.Process(), owner.ByAcceptor)
		record := single(t, l.Take())
		return record.Attributes().AsRaw(), record.Body().Str()
	}
	every, _ := attributes(0)
	tests := []struct {
		absent          connection.Absent
		attribute, body string
	}{
		{connection.AbsentReceivedBytes, "tcp.receive.size", "rx="},
		{connection.AbsentTransmittedBytes, "tcp.transmit.size", "tx="},
		{connection.AbsentReceivedSegments, "tcp.receive.segment.count", ""},
		{connection.AbsentTransmittedSegments, "tcp.transmit.segment.count", ""},
		{connection.AbsentRetransmits, "tcp.retransmit.count", ""},
		{connection.AbsentOutOfOrder, "tcp.out_of_order.count", ""},
	}
	for _, test := range tests {
		t.Run(test.attribute, func(t *testing.T) {
			got, body := attributes(test.absent)
			assert.Contains(t, every, test.attribute)
			assert.NotContains(t, got, test.attribute)
			assert.Len(t, got, len(every)-1)
			if test.body != "" {
				assert.NotContains(t, body, test.body)
			}
		})
	}
}
