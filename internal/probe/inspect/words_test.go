// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package inspect

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// TestWantLeavesFrames: user space may have read a part of the head that begins at the number.
func TestWantLeavesFrames(t *testing.T) {
	f := &flow.Flow{Client: netip.MustParseAddrPort("192.0.2.7:40000"), Server: netip.MustParseAddrPort("192.0.2.1:80")}
	w := &words{sets: make([]shared.WantedSet, 1), seed: 7}
	tag := max(w.hash(1, f)>>tagShift, 1) << tagShift
	way := &w.sets[0].Ways[2].Words
	way[stream.ToServer], way[stream.ToClient] = tag|100, tag|wordFrames|100
	w.want(1, f, stream.ToServer, 103)
	w.want(1, f, stream.ToClient, 103)
	assert.Equal(t, tag|103, way[stream.ToServer])
	assert.Equal(t, tag|wordFrames|100, way[stream.ToClient])
}

// TestUpdateTriesAgain: the programs store to a word while user space changes it. Neither is lost.
func TestUpdateTriesAgain(t *testing.T) {
	for stores, want := range []uint64{wordWhole, wordWhole | 1, wordWhole | 2, wordWhole | 3, 4} {
		word, stored := uint64(0), 0
		update(&word, func(old uint64) uint64 {
			if stored < stores {
				stored++
				word++ // as a program does
			}
			return old | wordWhole
		})
		assert.Equal(t, want, word, "%d stores", stores)
	}
}
