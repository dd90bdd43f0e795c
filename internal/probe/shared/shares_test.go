// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package shared

import (
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Namespaces that namespace_rooms has no room for leave nothing behind. They cause no error
// either, which would hold back the metrics of all.
func TestSharesOfMoreNamespacesThanFit(t *testing.T) {
	const own = 1
	create := func(spec ebpf.MapSpec) *ebpf.Map {
		m, err := ebpf.NewMap(&spec)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, m.Close()) })
		return m
	}
	byNetNS := func(value uintptr) *ebpf.Map {
		return create(ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: uint32(value), MaxEntries: 2})
	}
	s := NewShares(map[string]*ebpf.Map{
		"rooms_taken": create(ebpf.MapSpec{
			Type: ebpf.Array, KeySize: 4, ValueSize: uint32(unsafe.Sizeof(RoomTotals{})),
			MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE,
		}),
		"rooms_pending": create(ebpf.MapSpec{
			Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: uint32(unsafe.Sizeof(RoomCounts{})), MaxEntries: 1,
		}),
		"namespace_rooms":   byNetNS(unsafe.Sizeof(NamespaceShare{})),
		"namespace_returns": byNetNS(unsafe.Sizeof(RoomCounts{})),
	}, Capacities{}, own)
	// The kernel counts 10, and of 11 only the end of an entry.
	for netns, taken := range map[uint32]uint32{10: 1, 11: ^uint32(0)} {
		var share NamespaceShare
		share.Taken.Entries[RoomPortCounters] = taken
		require.NoError(t, s.namespaces.Put(netns, &share))
	}
	for _, netns := range []uint32{own, 12, 13, 14, 10} {
		s.ReportDeleted(netns, RoomPortCounters)
	}
	require.NoError(t, s.Tidy())
	require.NoError(t, s.Tidy())
	var netns uint32
	for _, m := range []*ebpf.Map{s.namespaces, s.returns} {
		assert.ErrorIs(t, m.NextKey(nil, &netns), ebpf.ErrKeyNotExist)
	}
}

// Fuller than it says by what the processors keep: never by more than a small part.
func TestBatchOf(t *testing.T) {
	for name, of := range map[string]struct {
		capacity   uint32
		processors int
		want       uint32
	}{
		"default, two processors":     {131_072, 2, 32},
		"default, 1,024 processors":   {131_072, 1024, 2},
		"small: each counts at once":  {64, 2, 0},
		"no shares":                   {0, 2, 0},
		"no answer of the processors": {131_072, 0, 32},
	} {
		assert.Equal(t, of.want, batchOf(of.capacity, of.processors), name)
	}
}
