// SPDX-License-Identifier: Apache-2.0

package host

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
)

// Recent remembers addresses that a look has missed. The kernel's table of sockets changes while it
// is read, so one look can miss some, above all during a flood.
type Recent struct {
	// Grace is for how long an address stays that was not found again.
	Grace time.Duration

	seen map[netip.Prefix]sighting
}

// sighting is when an address was seen last, since boot.
type sighting struct {
	entry allow.Entry
	at    time.Duration
}

// Keep returns the addresses that were found now, or a short time ago. Without room for all, those that
// were found last stay.
func (r *Recent) Keep(found []allow.Entry, now time.Duration) []allow.Entry {
	if r.seen == nil {
		r.seen = map[netip.Prefix]sighting{}
	}
	for _, e := range found {
		r.seen[e.Prefix] = sighting{e, now}
	}
	maps.DeleteFunc(r.seen, func(_ netip.Prefix, s sighting) bool { return now-s.at >= r.Grace })
	kept := slices.SortedFunc(maps.Values(r.seen), func(a, b sighting) int {
		return cmp.Or(cmp.Compare(b.at, a.at), a.entry.Prefix.Addr().Compare(b.entry.Prefix.Addr()))
	})
	for len(kept) > maxSessions {
		last := len(kept) - 1
		delete(r.seen, kept[last].entry.Prefix)
		kept = kept[:last]
	}
	entries := make([]allow.Entry, 0, len(kept))
	for i := range kept {
		entries = append(entries, kept[i].entry)
	}
	slices.SortFunc(entries, func(a, b allow.Entry) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
	return entries
}
