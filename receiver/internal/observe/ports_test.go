// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

func TestPortDeltas(t *testing.T) {
	d := portDeltas{limit: 100}
	step := func(counters ...connection.PortCounter) map[string]uint64 {
		got := map[string]uint64{}
		assert.Zero(t, d.each(counters, func(c connection.PortCounter, delta uint64) { got[c.Detail] += delta }))
		return got
	}
	drop := func(detail string, value uint64) connection.PortCounter {
		return connection.PortCounter{Port: 80, IPv4: true, What: connection.Drops, Detail: detail, Value: value}
	}
	final := func(c connection.PortCounter) connection.PortCounter {
		c.Final = true
		return c
	}

	assert.Equal(t, map[string]uint64{"a": 3, "b": 1}, step(drop("a", 3), drop("b", 1)))
	assert.Equal(t, map[string]uint64{"a": 2}, step(drop("a", 5), drop("b", 1)))
	for range 100 {
		assert.Empty(t, step(drop("b", 1)), "a is missing")
	}
	assert.Equal(t, map[string]uint64{"a": 1}, step(drop("a", 6), drop("b", 1)), "and not counted again")
	assert.Equal(t, map[string]uint64{"a": 2}, step(drop("a", 2), drop("b", 1)), "the kernel began again at 0")
	assert.Equal(t, map[string]uint64{"_OTHER": 7}, step(drop("_OTHER", 3), drop("_OTHER", 4)), "one name for two")
	assert.Equal(t, map[string]uint64{"_OTHER": 1}, step(drop("_OTHER", 4), drop("_OTHER", 4)))

	assert.Equal(t, map[string]uint64{"a": 3}, step(final(drop("a", 5))), "the last delta of what ends")
	assert.Equal(t, map[string]uint64{"a": 9}, step(drop("a", 9)), "the next one begins at 0, however big it is")
	assert.Empty(t, step(final(drop("a", 9)), final(drop("b", 1)), final(drop("_OTHER", 4)), final(drop("_OTHER", 4))))
	assert.Empty(t, d.known)
	assert.Equal(t, map[string]uint64{"c": 4}, step(final(drop("c", 4))), "seen once only")
	assert.Empty(t, d.known)
}

func TestPortDeltasAreBounded(t *testing.T) {
	r := newRig(func(o *Options) { o.PortCounters = 10 })
	counters := make([]connection.PortCounter, 10*tablesPerMap+5)
	for i := range counters {
		counters[i] = connection.PortCounter{NetNS: uint32(i), What: connection.Drops, Value: 1}
	}
	r.Snapshot(&probe.Snapshot{Ports: counters})
	assert.Len(t, r.ports.known, 10*tablesPerMap)
	assert.EqualValues(t, 5, r.ledger.Lost(ledger.PortCount, ledger.TableFull))
}
