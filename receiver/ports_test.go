// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
)

func TestPortDeltas(t *testing.T) {
	var d portDeltas
	step := func(counters ...connection.PortCounter) map[string]uint64 {
		got := map[string]uint64{}
		d.each(counters, func(c connection.PortCounter, delta uint64) { got[c.Detail] += delta })
		return got
	}
	drop := func(detail string, value uint64) connection.PortCounter {
		return connection.PortCounter{Port: 80, IPv4: true, What: connection.Drops, Detail: detail, Value: value}
	}

	assert.Equal(t, map[string]uint64{"a": 3, "b": 1}, step(drop("a", 3), drop("b", 1)))
	assert.Equal(t, map[string]uint64{"a": 2}, step(drop("a", 5), drop("b", 1)))
	assert.Empty(t, step(drop("b", 1)), "a is missing once")
	assert.Equal(t, map[string]uint64{"a": 1}, step(drop("a", 6), drop("b", 1)), "and not counted anew")
	assert.Equal(t, map[string]uint64{"a": 2}, step(drop("a", 2), drop("b", 1)), "the kernel began anew")
	assert.Equal(t, map[string]uint64{"_OTHER": 7}, step(drop("_OTHER", 3), drop("_OTHER", 4)), "one name for two")
	assert.Equal(t, map[string]uint64{"_OTHER": 1}, step(drop("_OTHER", 4), drop("_OTHER", 4)))

	for range missedSnapshots + 1 {
		step(drop("_OTHER", 8))
	}
	assert.Len(t, d.known, 1, "what is gone for long is forgotten")
}
