// SPDX-License-Identifier: Apache-2.0

package host

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
)

// grace is for how long a session stays allowed that was not found again.
const grace = time.Minute

// Recent remembers sessions that a look has missed. The kernel's table of sockets changes while it
// is read, so one look can miss some, above all during a flood. The zero value knows none.
type Recent struct {
	seen map[netip.Prefix]sighting
}

// sighting is when a session was seen last, since boot.
type sighting struct {
	entry allow.Entry
	at    time.Duration
}

// Keep returns the sessions that were found now, or a short time ago.
func (r *Recent) Keep(found []allow.Entry, now time.Duration) []allow.Entry {
	if r.seen == nil {
		r.seen = map[netip.Prefix]sighting{}
	}
	for _, e := range found {
		r.seen[e.Prefix] = sighting{e, now}
	}
	entries := make([]allow.Entry, 0, len(r.seen))
	for prefix, s := range r.seen {
		if now-s.at >= grace || len(entries) >= maxSessions {
			delete(r.seen, prefix)
			continue
		}
		entries = append(entries, s.entry)
	}
	slices.SortFunc(entries, func(a, b allow.Entry) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
	return entries
}
