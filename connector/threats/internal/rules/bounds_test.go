// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
)

// heap is what is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func forged(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 1<<31|n)))
}

// TestAMillionForgedSources: memory stays as it is at the limits, and the one real scanner among
// them is reported with its true count.
func TestAMillionForgedSources(t *testing.T) {
	l := newLab(t, func(c *engine.Config) { c.Sources, c.Findings = 65536, 8192 })
	random := rand.New(rand.NewPCG(1, 2))
	before, middle := heap(), int64(0)
	const sources, scanned = 1_000_000, 500
	for i := range uint32(sources) {
		l.attempt(forged(i), 1+random.IntN(65535), true)
		if i%(sources/scanned) == 0 {
			l.attempt(attacker, 1+int(i/(sources/scanned)), true)
		}
		if i%1000 == 0 {
			l.pass(time.Second)
		}
		if i == sources/4 {
			middle = heap()
		}
	}
	after := heap()
	assert.LessOrEqual(t, l.Totals().Sources, 65536)
	assert.Less(t, after-before, int64(128<<20))
	assert.Less(t, after-middle, int64(8<<20), "it grows")
	l.Tick(l.now)
	var count uint64
	for _, f := range l.told {
		if catalogue.ID(f.Rule) == catalogue.PortScan {
			require.Equal(t, attacker, f.Source)
			count = f.Count
		}
	}
	source := l.SourceOf(attacker)
	require.NotNil(t, source, "the attacker was displaced")
	assert.InEpsilon(t, scanned, source.Contacts.Failed, 0.1)
	assert.Positive(t, count)
	runtime.KeepAlive(l)
}

// TestAllPortsFromManySources: every source is worth keeping, and the tables stay bounded.
func TestAllPortsFromManySources(t *testing.T) {
	l := newLab(t, func(c *engine.Config) { c.Sources, c.Findings = 4096, 1024 })
	for round := range 40 {
		for i := range uint32(20_000) {
			l.attempt(forged(i), 1+round*1600+int(i)%1600, true)
		}
		l.pass(time.Second)
	}
	totals := l.Totals()
	assert.LessOrEqual(t, totals.Sources, 4096)
	assert.LessOrEqual(t, totals.Open, 1024)
	minutes := 2
	assert.LessOrEqual(t, len(l.told), minutes*(100+int(catalogue.Rules)))
}

// TestManySourceRecords: each of a million sources once, as the kernel reports them in a flood.
func TestManySourceRecords(t *testing.T) {
	l := newLab(t, func(c *engine.Config) { c.Sources = 4096 })
	middle := int64(0)
	const sources = 300_000
	for i := range uint32(sources) {
		l.source(forged(i), reading.SourceCounts{SynClosed: 9, Ports: 5, PortsFailed: 5, Null: 2, PortStray: 2})
		if i == sources/4 {
			middle = heap()
		}
	}
	assert.Less(t, heap()-middle, int64(4<<20))
	assert.LessOrEqual(t, l.Totals().Sightings, 4096)
	runtime.KeepAlive(l)
}
