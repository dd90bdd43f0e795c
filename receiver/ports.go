// SPDX-License-Identifier: Apache-2.0

package receiver

import "github.com/ebpftcp/ebpftcpreceiver/internal/connection"

const (
	// maxPortCounters is well above what the kernel side holds.
	maxPortCounters = 32768
	// missedSnapshots is how many snapshots a counter may be missing from: reading a
	// map while it changes can end early. Forgotten too soon it would count twice.
	missedSnapshots = 6
)

// portDeltas turns the kernel side's running totals per port into what was added
// since the snapshot before.
type portDeltas struct {
	known    map[connection.PortCounter]portTotal
	snapshot uint32
}

type portTotal struct {
	now, before uint64
	snapshot    uint32
}

// each calls add for every counter that grew. A counter that is smaller than it was
// has been deleted in the kernel meanwhile and begun anew.
func (d *portDeltas) each(counters []connection.PortCounter, add func(connection.PortCounter, uint64)) {
	if d.known == nil {
		d.known = make(map[connection.PortCounter]portTotal, len(counters))
	}
	d.snapshot++
	for _, counter := range counters {
		key := counter
		key.Value = 0
		total := d.known[key]
		if total.snapshot != d.snapshot {
			total = portTotal{before: total.now, snapshot: d.snapshot}
		}
		// Two of the kernel's counters can have one name: reasons without a name.
		total.now += counter.Value
		d.known[key] = total
	}
	for key, total := range d.known {
		switch {
		case total.snapshot != d.snapshot:
			if len(d.known) > maxPortCounters || d.snapshot-total.snapshot > missedSnapshots {
				delete(d.known, key)
			}
		case total.now < total.before:
			add(key, total.now)
		case total.now > total.before:
			add(key, total.now-total.before)
		}
	}
}
