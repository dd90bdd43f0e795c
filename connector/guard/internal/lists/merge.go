// SPDX-License-Identifier: Apache-2.0

package lists

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// merge makes the entries those that were read, and reports whether that changed anything. An entry
// that was there before keeps its end, unless it has more lines than before. A file that may not
// be whole only adds, until an entry was missing for some time.
func (f *file) merge(read []line, first, whole bool, age, now time.Duration) bool {
	entries := collect(read)
	changed := first
	for prefix, e := range entries {
		before, known := f.entries[prefix]
		if known && before.ttl == e.ttl && before.lines >= e.lines {
			e.Until = before.Until
		} else {
			e.Until = e.end(first, age, now)
		}
		changed = changed || !known || before.Until != e.Until || before.Reason != e.Reason
		entries[prefix] = e
	}
	for prefix, before := range f.entries {
		if _, still := entries[prefix]; still {
			continue
		}
		if before.missing == 0 {
			before.missing = now
		}
		if !whole && now-before.missing < patience {
			entries[prefix] = before
			continue
		}
		changed = true
	}
	f.entries = entries
	return changed
}

// collect has one entry for each prefix. The longest of several lines counts.
func collect(read []line) map[netip.Prefix]Entry {
	entries := make(map[netip.Prefix]Entry, len(read))
	for i := range read {
		l := &read[i]
		e, twice := entries[l.prefix]
		if !twice || e.ttl != 0 && (l.ttl == 0 || l.ttl > e.ttl) {
			e = Entry{Prefix: l.prefix, Line: l.number, Reason: l.reason, ttl: l.ttl, lines: e.lines}
		}
		e.lines++
		entries[l.prefix] = e
	}
	return entries
}

// end is when an entry's time is over. It counts from when the line was first seen. A guard that has
// just started did not see that. The file was written after it, so its age is what is known.
func (e *Entry) end(first bool, age, now time.Duration) time.Duration {
	if e.ttl == 0 {
		return Forever
	}
	if first {
		return now + e.ttl - min(max(age, 0), e.ttl)
	}
	return now + e.ttl
}

// update describes the file. Entries whose time is over are left out.
func (f *file) update(name string, now time.Duration, faults []Fault, untold int) *Update {
	u := &Update{File: name, Entries: make([]Entry, 0, len(f.entries)), Faults: faults, Untold: untold}
	for _, e := range f.entries {
		if e.Until > now {
			u.Entries = append(u.Entries, e)
		}
	}
	slices.SortFunc(u.Entries, func(a, b Entry) int {
		return cmp.Or(a.Line-b.Line, a.Prefix.Addr().Compare(b.Prefix.Addr()))
	})
	return u
}
