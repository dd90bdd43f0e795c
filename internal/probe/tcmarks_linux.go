// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/clock"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

const (
	marksInSet = len(shared.HalfOpenMarks{}.Marks)
	// marksPerEntry is how many attempts leave a mark for each that is tracked.
	marksPerEntry = 2
	// markOfShare is MARK_OF_SHARE of bpf/lib/halfopen.h.
	markOfShare = 2
)

// What a marked attempt found no room in.
const (
	markFull = iota
	markShare
	markKinds
)

// halfOpenSets is the size of half_open_marks, a power of two.
func halfOpenSets(cfg *Config) uint32 {
	marks := roomCapacities(cfg)[shared.RoomHalfOpen] * marksPerEntry
	return 1 << bits.Len32((marks-1)/uint32(marksInSet))
}

// tcMarks finds, of the attempts that half_open_handshakes had no room for, those that
// did not end in time. The kernel counts the marks it makes and clears; one that is
// neither cleared nor young was of an attempt that is lost.
type tcMarks struct {
	sets, ledger *ebpf.Map
	timeout      uint32 // in milliseconds
	lost         [markKinds]int64
}

func newTCMarks(cfg *Config, maps map[string]*ebpf.Map) tcMarks {
	return tcMarks{
		sets:    maps["half_open_marks"],
		ledger:  maps["ledger"],
		timeout: uint32(cfg.HandshakeTimeout.Milliseconds()),
	}
}

// lose returns how many attempts were lost since the last time. The kernel goes on
// meanwhile: in this order, what it does makes them fewer, and the next time finds them.
func (m *tcMarks) lose(c *clock.Clock) (sum int64, err error) {
	made, err := m.counts(shared.LedgerEntryMarkedHalfOpen, shared.LedgerEntryMarkedShareHalfOpen)
	if err != nil || made == [markKinds]int64{} {
		return 0, err
	}
	young, err := m.young(uint32(c.Boot() / uint64(time.Millisecond)))
	if err != nil {
		return 0, err
	}
	ended, err := m.counts(shared.LedgerEntryEndedMark, shared.LedgerEntryEndedShareMark)
	if err != nil {
		return 0, err
	}
	for kind := range m.lost {
		if lost := made[kind] - ended[kind] - young[kind] - m.lost[kind]; lost > 0 {
			m.lost[kind] += lost
			sum += lost
		}
	}
	return sum, nil
}

// young counts the marks that are no older than the timeout.
func (m *tcMarks) young(now uint32) (n [markKinds]int64, err error) {
	keys := make([]uint32, min(m.sets.MaxEntries(), 1024))
	sets := make([]shared.HalfOpenMarks, len(keys))
	var cursor ebpf.MapBatchCursor
	for err == nil {
		var read int
		read, err = m.sets.BatchLookup(&cursor, keys, sets, nil)
		for i := range sets[:read] {
			for _, mark := range &sets[i].Marks {
				if mark.Fingerprint == 0 || now-mark.Since > m.timeout {
					continue
				}
				if mark.Fingerprint&markOfShare == 0 {
					n[markFull]++
				} else {
					n[markShare]++
				}
			}
		}
	}
	if !errors.Is(err, ebpf.ErrKeyNotExist) { // what ends the batches
		return n, fmt.Errorf("read the marks of half-open attempts: %w", err)
	}
	return n, nil
}

// counts are two entries of the kernel's ledger, over all CPUs.
func (m *tcMarks) counts(full, share shared.LedgerEntry) (n [markKinds]int64, err error) {
	perCPU := make([]uint64, ebpf.MustPossibleCPU())
	for kind, entry := range [markKinds]shared.LedgerEntry{full, share} {
		if err := m.ledger.Lookup(uint32(entry), &perCPU); err != nil {
			return n, fmt.Errorf("read the ledger: %w", err)
		}
		for _, one := range perCPU {
			n[kind] += int64(one)
		}
	}
	return n, nil
}
