// SPDX-License-Identifier: Apache-2.0

package blocks

import (
	"net/netip"
	"time"
)

// Listed is an entry of a list.
type Listed struct {
	Prefix netip.Prefix
	// Until is when the list wants its end, since boot; or Forever.
	Until        time.Duration
	Rule, Reason string
}

// Change is what replacing a list did to its blocks.
type Change struct {
	Added, Kept, Moved, Gone, Refused int
}

// Replace makes the blocks of a list those that are wanted, and no others. It tells each decision
// but those that changed nothing. A list that has gone wants none.
//
// What is gone is lifted first, so that its room is free for what is new. Entries that have one
// key are one block, up to the latest end.
func (t *Table) Replace(origin Origin, wanted []Listed, now time.Duration, tell func(*Decision)) Change {
	latest := make(map[netip.Prefix]*Listed, len(wanted))
	var c Change
	for i := range wanted {
		w := &wanted[i]
		key := t.Key(w.Prefix)
		if w.Until <= now {
			continue
		}
		if before := latest[key]; before == nil || before.Until < w.Until {
			latest[key] = w
		}
	}
	t.liftOthers(origin, latest, &c, now, tell)
	for i := range wanted {
		w := &wanted[i]
		key := t.Key(w.Prefix)
		if latest[key] != w {
			continue
		}
		d := t.list(origin, key, w, now)
		switch d.Outcome {
		case Blocked:
			c.Added++
		case Refused:
			c.Refused++
		case Unchanged:
			c.Kept++
			continue
		default:
			c.Moved++
		}
		tell(&d)
	}
	return c
}

// liftOthers ends an origin's blocks that its list does not want.
func (t *Table) liftOthers(origin Origin, wanted map[netip.Prefix]*Listed, c *Change, now time.Duration, tell func(*Decision)) {
	var gone []netip.Prefix
	for key, held := range t.keys {
		if wanted[key] == nil && find(held, origin) >= 0 {
			gone = append(gone, key)
		}
	}
	for _, key := range gone {
		d := t.end(key, find(t.keys[key], origin), Gone, now)
		c.Gone++
		tell(&d)
	}
}

// list makes one block what the list says.
func (t *Table) list(origin Origin, key netip.Prefix, w *Listed, now time.Duration) Decision {
	ttl := Forever
	if w.Until != Forever {
		ttl = w.Until - now
	}
	r := Request{Prefix: w.Prefix, Origin: origin, Rule: w.Rule, Reason: w.Reason, TTL: ttl}
	if i := find(t.keys[key], origin); i >= 0 {
		return t.move(key, &t.keys[key][i], w.Until)
	}
	return t.Block(&r, now)
}
