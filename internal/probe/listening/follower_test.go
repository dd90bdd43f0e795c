// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package listening

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// losses counts by cause.
type losses struct {
	fact.Nop
	by map[ledger.Cause]int
}

func (l *losses) FactsLost(_ ledger.Event, c ledger.Cause, n int) { l.by[c] += n }

func refused(socket uint64, port uint16) *shared.ListenRecord {
	return &shared.ListenRecord{Sk: socket, Port: port, Followed: uint8(shared.FollowedNotShare)}
}

// A scan meets a socket once per descriptor, and later scans meet it again. It is lost once.
func TestRefusedListenerIsCountedOnce(t *testing.T) {
	for name, port := range map[string]uint16{"bound": 80, "without a port": 0} {
		t.Run(name, func(t *testing.T) {
			lost := &losses{by: map[ledger.Cause]int{}}
			f := New(Options{Context: &record.Context{Sink: lost}, Max: 2})
			count := func() int { return lost.by[ledger.MapShare] }
			f.Opened(refused(1, port))
			for range 3 {
				f.Found(refused(1, port))
			}
			assert.Equal(t, 1, count())
			f.Found(refused(2, port))
			assert.Equal(t, 2, count(), "another one")

			f.Opened(refused(1, port))
			assert.Equal(t, 3, count(), "another one has the address of the first")
			f.Ended(&shared.ListenRecord{Sk: 2})
			f.Found(refused(2, port))
			assert.Equal(t, 4, count(), "as above")

			f.Found(refused(3, port))
			assert.Equal(t, 4, count(), "more can't be told apart")
			f.Opened(refused(4, port))
			assert.Equal(t, 5, count(), "a beginning is not found again")
			f.KeepOnly(map[uint64]bool{1: true})
			f.Found(refused(1, port))
			assert.Equal(t, 5, count())
			f.Found(refused(3, port))
			assert.Equal(t, 6, count(), "there is room again")
			assert.Equal(t, map[ledger.Cause]int{ledger.MapShare: 6}, lost.by)
		})
	}
}
