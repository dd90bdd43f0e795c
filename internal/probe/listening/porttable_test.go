// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package listening

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// TestPlacesOfPorts: a place counts for one port at a time, and there are not enough for all.
func TestPlacesOfPorts(t *testing.T) {
	table, err := newPortTable(true)
	require.NoError(t, err)
	defer table.close()
	count := func(port uint32, n uint64) {
		perCPU := make([]uint64, ebpf.MustPossibleCPU())
		perCPU[0] = table.read(table.places[port].at) + n
		require.NoError(t, table.syns.Put(uint32(table.places[port].at), perCPU))
	}
	require.NoError(t, table.mark(80, true))
	first := table.places[80].at
	count(80, 7)
	require.NoError(t, table.mark(80, true), "a second listener")
	assert.Equal(t, first, table.places[80].at)
	assert.EqualValues(t, 7, table.countedSYNs(80))

	require.NoError(t, table.mark(80, false))
	assert.Zero(t, table.countedSYNs(80))
	const places = uint32(shared.PortPlaces - shared.PortPlaceFirst)
	for port := range places {
		require.NoError(t, table.mark(1000+port, true))
		assert.Zero(t, table.countedSYNs(1000+port))
	}
	assert.Equal(t, first, table.places[1000+places-1].at, "the one that was freed last comes last")
	require.NoError(t, table.mark(443, true))
	assert.Equal(t, shared.PortPlaceListens, table.places[443].at)
	assert.Zero(t, table.countedSYNs(443))
	require.NoError(t, table.mark(443, false))
	count(1000+places-1, 2)
	assert.EqualValues(t, 2, table.countedSYNs(1000+places-1))
}
