// SPDX-License-Identifier: Apache-2.0

package series

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
)

// TestAbsentCountersAreNoFigures: a counter that the kernel does not provide is absent, not 0.
func TestAbsentCountersAreNoFigures(t *testing.T) {
	for absent, present := range map[connection.Absent]string{
		connection.AbsentReceivedBytes:    "map[network.io.direction:transmit",
		connection.AbsentTransmittedBytes: "map[network.io.direction:receive",
	} {
		r := newRig(Options{})
		r.IO(web(), absent, 1, 1)
		points := values(r.pass(time.Second), "tcp.server.io")
		assert.Len(t, points, 1)
		for name := range points {
			assert.Contains(t, name, present)
		}
	}
}
