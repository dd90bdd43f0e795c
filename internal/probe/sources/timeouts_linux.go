// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package sources

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

// TimedOut counts a handshake that timed out. No program sees that: the packet vantage point finds
// it in its table, which bounds how many there are between two passes.
func (v *Vantage) TimedOut(key *shared.HalfOpenKey) {
	if v != nil {
		v.timedOut[shared.SourceKeyOf(&key.Flow.Remote, key.Netns, &v.mask)]++
	}
}

// timeouts takes what was counted for a source.
func (v *Vantage) timeouts(key *shared.SourceKey) uint32 {
	if len(v.timedOut) == 0 {
		return 0
	}
	n := v.timedOut[*key]
	delete(v.timedOut, *key)
	return n
}

// addTimeoutsToRest takes what is left: sources without an entry, which a flood consists of.
func (v *Vantage) addTimeoutsToRest() {
	for key, n := range v.timedOut {
		var delta [source.Counts]uint32
		delta[source.HalfOpenTimeout] = n
		v.rest.add(&key, &delta)
	}
	clear(v.timedOut)
}
