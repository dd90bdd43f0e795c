// SPDX-License-Identifier: Apache-2.0

package observe

import "github.com/ebpftcp/ebpftcpreceiver/internal/connection"

// portDeltas turns the kernel side's running totals per port into increments since the
// previous snapshot. A counter may be missing from any number of snapshots: only its final
// value ends it.
type portDeltas struct {
	// limit bounds the counters, some of which may never become final.
	limit    int
	known    map[connection.PortCounter]portTotal
	snapshot uint64
}

type portTotal struct {
	now, before uint64
	// snapshot is the last one that had it.
	snapshot uint64
	final    bool
}

// each calls add for every counter that grew. A counter that shrank has restarted from 0. It
// returns how many counters there was no room for.
func (d *portDeltas) each(counters []connection.PortCounter, add func(connection.PortCounter, uint64)) (refused int) {
	if d.known == nil {
		d.known = make(map[connection.PortCounter]portTotal, len(counters))
	}
	d.snapshot++
	for _, counter := range counters {
		key := counter
		key.Value, key.Final = 0, false
		total, known := d.known[key]
		if !known && len(d.known) >= d.limit {
			refused++
			continue
		}
		if total.snapshot != d.snapshot {
			total = portTotal{before: total.now, snapshot: d.snapshot}
		}
		// Two counters of the kernel can share a name: drop reasons that have none.
		total.now += counter.Value
		total.final = total.final || counter.Final
		d.known[key] = total
	}
	for key, total := range d.known {
		if total.snapshot != d.snapshot {
			continue
		}
		switch {
		case total.now < total.before:
			add(key, total.now)
		case total.now > total.before:
			add(key, total.now-total.before)
		}
		if total.final {
			delete(d.known, key)
		}
	}
	return refused
}
