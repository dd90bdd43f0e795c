// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package halfopen

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/clock"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// markCounts are numbers of marks by the cause of the missing room: shared.CauseMapFull or
// shared.CauseMapShare.
type markCounts [len(shared.Ledger{}.Marked)]int64

// marks finds attempts without room in half_open_handshakes that did not end in time. The
// kernel counts the marks that it makes and clears. A mark that is neither cleared nor young
// belongs to a lost attempt.
type marks struct {
	sets, ledger *ebpf.Map
	timeout      uint32 // in milliseconds
	lost         markCounts
}

func newMarks(cfg *settings.Config, maps map[string]*ebpf.Map) marks {
	return marks{
		sets:    maps["half_open_marks"],
		ledger:  maps["ledger"],
		timeout: uint32(cfg.HandshakeTimeout.Milliseconds()),
	}
}

// lose returns how many attempts were lost since the last call. The kernel makes and clears
// marks meanwhile. In this order of readings the result can only be too small, and the next
// call finds the rest.
func (m *marks) lose(c *clock.Clock) (sum int64, err error) {
	before, err := shared.ReadLedger(m.ledger)
	if err != nil || before.Marked == [len(markCounts{})]uint64{} {
		return 0, err
	}
	young, err := m.young(uint32(c.Boot() / uint64(time.Millisecond)))
	if err != nil {
		return 0, err
	}
	after, err := shared.ReadLedger(m.ledger)
	if err != nil {
		return 0, err
	}
	for cause, known := range m.lost {
		made, ended := int64(before.Marked[cause]), int64(after.MarksEnded[cause])
		if lost := made - ended - young[cause] - known; lost > 0 {
			m.lost[cause] += lost
			sum += lost
		}
	}
	return sum, nil
}

// young counts the marks that are no older than the timeout.
func (m *marks) young(now uint32) (n markCounts, err error) {
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
				if mark.Fingerprint&uint32(shared.MarkBitOfShare) == 0 {
					n[shared.CauseMapFull]++
				} else {
					n[shared.CauseMapShare]++
				}
			}
		}
	}
	if !errors.Is(err, ebpf.ErrKeyNotExist) { // what ends the batches
		return n, fmt.Errorf("read the marks of half-open attempts: %w", err)
	}
	return n, nil
}
