// SPDX-License-Identifier: Apache-2.0

package crowdsec

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// Entry is an address or a range that is banned.
type Entry struct {
	Prefix netip.Prefix
	// Until is since boot, the latest of its decisions.
	Until    time.Duration
	Scenario string
}

// Update is what an answer of the API changed.
type Update struct {
	// Full: Entries are all that are banned. Otherwise they are those that changed, and what is in
	// Lifted is not banned any more.
	Full    bool
	Entries []Entry
	Lifted  []netip.Prefix
}

// ban is one decision that counts.
type ban struct {
	id       int64
	until    time.Duration
	scenario string
}

// maxBans is how many decisions one address may have.
const maxBans = 64

// state are the decisions that are known.
type state struct {
	limit   int
	refuse  func(netip.Prefix) string
	bans    map[netip.Prefix][]ban
	count   int
	texts   map[string]string
	touched map[netip.Prefix]bool
	ignored [Reasons]uint64
}

func newState(limit int, refuse func(netip.Prefix) string) *state {
	return &state{limit: limit, refuse: refuse, bans: map[netip.Prefix][]ban{}, texts: map[string]string{}, touched: map[netip.Prefix]bool{}}
}

// add takes a decision from those that are new.
func (s *state) add(d *decision, now time.Duration) {
	prefix, why, ok := d.prefix()
	if !ok {
		s.ignored[why]++
		return
	}
	left, ok := d.left()
	switch {
	case !ok:
		s.ignored[Malformed]++
		return
	case left <= 0:
		return // It has ended on the way.
	case s.refuse != nil && s.refuse(prefix) != "":
		s.ignored[Unwanted]++
		return
	}
	held := s.bans[prefix]
	b := ban{d.ID, now + left, s.text(d.Scenario)}
	if i := slices.IndexFunc(held, func(b ban) bool { return b.id == d.ID }); i >= 0 {
		held[i] = b
		s.touched[prefix] = true
		return
	}
	if s.count >= s.limit || len(held) >= maxBans {
		s.ignored[OverLimit]++
		return
	}
	s.bans[prefix] = append(held, b)
	s.count++
	s.touched[prefix] = true
}

// remove takes a decision from those that were deleted.
func (s *state) remove(d *decision) {
	prefix, _, ok := d.prefix()
	if !ok {
		return
	}
	s.drop(prefix, func(b *ban) bool { return b.id == d.ID })
}

// drop removes bans of a prefix.
func (s *state) drop(prefix netip.Prefix, which func(*ban) bool) {
	held := s.bans[prefix]
	kept := slices.DeleteFunc(held, func(b ban) bool { return which(&b) })
	if len(kept) == len(held) {
		return
	}
	s.count -= len(held) - len(kept)
	s.touched[prefix] = true
	if len(kept) == 0 {
		delete(s.bans, prefix)
		return
	}
	s.bans[prefix] = kept
}

// expire removes what has ended by itself.
func (s *state) expire(now time.Duration) {
	for prefix := range s.bans {
		s.drop(prefix, func(b *ban) bool { return b.until <= now })
	}
}

// changes are those since the last call.
func (s *state) changes() Update {
	var u Update
	for prefix := range s.touched {
		if held := s.bans[prefix]; len(held) > 0 {
			u.Entries = append(u.Entries, entry(prefix, held))
		} else {
			u.Lifted = append(u.Lifted, prefix)
		}
	}
	clear(s.touched)
	return u
}

// all is everything that is banned.
func (s *state) all() Update {
	u := Update{Full: true, Entries: make([]Entry, 0, len(s.bans))}
	for prefix, held := range s.bans {
		u.Entries = append(u.Entries, entry(prefix, held))
	}
	clear(s.touched)
	return u
}

// entry sums up the bans of a prefix.
func entry(prefix netip.Prefix, held []ban) Entry {
	longest := slices.MaxFunc(held, func(a, b ban) int { return int(min(max(a.until-b.until, -1), 1)) })
	return Entry{Prefix: prefix, Until: longest.until, Scenario: longest.scenario}
}

// maxTexts is how many different scenarios are kept.
const maxTexts = 4096

// text keeps a scenario once.
func (s *state) text(scenario string) string {
	if known, ok := s.texts[scenario]; ok {
		return known
	}
	text := clean.String(scenario)
	if len(s.texts) >= maxTexts {
		clear(s.texts)
	}
	s.texts[text] = text
	return text
}
