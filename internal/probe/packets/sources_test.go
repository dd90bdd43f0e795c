// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package packets

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// counting makes the programs count per source.
func counting(c *settings.Config) {
	c.PacketSampleRate = 0
	c.Sources = settings.Sources{Enabled: true, Services: true, IPv6Prefix: 64, MaxSources: 64}
}

// synToHere is a SYN with the hardware address of lo, where a test run takes it as received.
func synToHere(t *testing.T) []byte {
	link := wire.Ethernet(layers.EthernetTypeIPv4)
	link.DstMAC = make([]byte, 6)
	return wire.Build(t, link, wire.IPv4(), wire.Segment(wire.OnlySYN))
}

// TestSourcesAreCounted has one load of the programs for all, because that takes long in an emulator.
func TestSourcesAreCounted(t *testing.T) {
	b := newBench(t, config(counting))
	t.Run("a leaving source", b.countsALeavingSourceInTheRest)
	t.Run("places of ports", b.countsSYNsAtThePlaceOfTheirPort)
}

// countsALeavingSourceInTheRest: nothing adds to an entry that is about to be deleted, nor to a
// generation of the rest that has ended.
func (b *bench) countsALeavingSourceInTheRest(t *testing.T) {
	client := wire.Client4.As16()
	key := shared.SourceKeyOf(&client, testNetNS, &[2]uint64{})
	require.NoError(t, b.maps["sources"].Put(&key, &shared.Source{Leaving: 1}))
	syns := func(generation uint16) (sum uint64) {
		perCPU := make([]shared.SourceRest, ebpf.MustPossibleCPU())
		if b.maps["source_rest"].Lookup(shared.SourceRestKey{Netns: testNetNS, Family: 4, Generation: generation}, &perCPU) == nil {
			for i := range perCPU {
				sum += perCPU[i].Counts[source.SYNListening]
			}
		}
		return sum
	}
	b.run("tc_ingress_eth", synToHere(t))
	assert.EqualValues(t, 1, syns(0))
	require.NoError(t, b.maps["source_gate"].Put(uint32(0), shared.SourceGate{Promote: 1, Crowded: 8, Generation: 1}))
	b.run("tc_ingress_eth", synToHere(t))
	assert.EqualValues(t, 1, syns(0))
	assert.EqualValues(t, 1, syns(1))

	var entry shared.Source
	require.NoError(t, b.maps["sources"].Lookup(&key, &entry))
	assert.Equal(t, shared.Source{Leaving: 1}, entry)
	require.NoError(t, b.maps["sources"].Put(&key, &shared.Source{}))
	b.run("tc_ingress_eth", synToHere(t))
	require.NoError(t, b.maps["sources"].Lookup(&key, &entry))
	assert.EqualValues(t, 1, entry.Counts[source.SYNListening])
}

// countsSYNsAtThePlaceOfTheirPort: without one, in the counters that all ports share.
func (b *bench) countsSYNsAtThePlaceOfTheirPort(t *testing.T) {
	placed := func() (sum uint64) {
		perCPU := make([]uint64, ebpf.MustPossibleCPU())
		require.NoError(t, b.syns.Lookup(uint32(shared.PortPlaceFirst), &perCPU))
		for _, n := range perCPU {
			sum += n
		}
		return sum
	}
	before := placed()
	for range 3 {
		b.run("tc_ingress_eth", synToHere(t))
	}
	assert.EqualValues(t, before+3, placed())
	require.NoError(t, shared.MarkPort(b.ports, wire.ServerPort, true))
	b.run("tc_ingress_eth", synToHere(t))
	assert.EqualValues(t, before+3, placed())
	key := shared.PortCounterKey{Netns: testNetNS, Port: wire.ServerPort, Family: 4, Count: uint8(shared.PortCountSyn)}
	perCPU := make([]uint64, ebpf.MustPossibleCPU())
	require.NoError(t, b.maps["port_counters"].Lookup(&key, &perCPU))
}
