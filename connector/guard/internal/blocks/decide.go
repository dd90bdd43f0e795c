// SPDX-License-Identifier: Apache-2.0

package blocks

import (
	"net/netip"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// Block decides on a request. The allow-list was asked before.
func (t *Table) Block(r *Request, now time.Duration) Decision {
	key := t.Key(r.Prefix)
	if !key.IsValid() || r.Origin.Kind >= Kinds {
		return t.refuse(NoAddress, key, r)
	}
	if r.Origin.Kind == Rule && t.tooWide(key) || hasIPv4(key) {
		return t.refuse(TooWide, key, r)
	}
	if i := find(t.keys[key], r.Origin); i >= 0 {
		return t.again(key, i, r, now)
	}
	if len(t.keys[key]) >= maxOrigins {
		return t.refuse(ManyOrigins, key, r)
	}
	if t.counts[r.Origin.Kind] >= t.set.Limits[r.Origin.Kind] {
		return t.refuse(TooMany, key, r)
	}
	if r.Origin.Kind == Rule && !t.take(now) {
		return t.refuse(TooFast, key, r)
	}
	b := t.begin(key, r, now)
	t.insert(key, &b)
	return t.decide(Blocked, key, &b)
}

// mapped4 is where IPv6 has IPv4, as sockets and the kernel side's keys do.
var mapped4 = netip.MustParsePrefix("::ffff:0.0.0.0/96")

// hasIPv4 tells whether an IPv6 network contains all of IPv4, which nobody means to block.
func hasIPv4(key netip.Prefix) bool {
	return key.Addr().Is6() && key.Bits() <= mapped4.Bits() && key.Contains(mapped4.Addr())
}

// tooWide tells whether a rule may not block a key.
func (t *Table) tooWide(key netip.Prefix) bool {
	if key.Addr().Is4() {
		return key.Bits() < t.set.Widest4
	}
	return key.Bits() < t.set.Widest6
}

// take uses up one of the new blocks of this minute.
func (t *Table) take(now time.Duration) bool {
	if t.filled > now {
		t.filled = now
	}
	if t.filled >= 0 {
		t.tokens += (now - t.filled).Minutes() * float64(t.set.PerMinute)
	}
	t.tokens, t.filled = min(t.tokens, float64(t.set.PerMinute)), now
	if t.tokens < 1 {
		return false
	}
	t.tokens--
	return true
}

// begin makes a block with its length.
func (t *Table) begin(key netip.Prefix, r *Request, now time.Duration) Block {
	b := Block{
		Origin: r.Origin, Rule: clean.String(r.Rule), Reason: clean.String(r.Reason), Evidence: r.Evidence,
		Began: now, limited: r.Limit > 0,
	}
	stepped := r.Origin.Kind == Rule || r.TTL <= 0
	if stepped {
		b.Step = t.nextStep(key, now)
		t.past.drop(key)
	}
	length, longest := t.lengthsOf(b.Step, r)
	b.Until = after(now, length)
	b.limit = after(now, longest)
	return b
}

// nextStep is one more than the highest that the key has, or had.
func (t *Table) nextStep(key netip.Prefix, now time.Duration) uint8 {
	step := t.past.step(key, now)
	for i := range t.keys[key] {
		// What blocks at the same time is the same occasion.
		if current := t.keys[key][i].Step; current > step {
			step = current - 1
		}
	}
	return min(step+1, maxStep)
}

// lengthsOf are how long a block lasts, and how long at most while packets still come.
func (t *Table) lengthsOf(step uint8, r *Request) (length, longest time.Duration) {
	switch {
	case r.TTL <= 0:
		length, longest = t.set.vary(t.set.length(step)), t.set.length(step+1)
	case r.Origin.Kind == Rule:
		length = min(r.TTL, t.set.MaxTTL)
		longest = min(2*length, t.set.MaxTTL)
	default:
		length, longest = r.TTL, r.TTL
	}
	if r.Limit > 0 {
		length, longest = min(length, r.Limit), min(longest, r.Limit)
	}
	return length, max(length, longest)
}

// after is a time that may be Forever.
func after(now, length time.Duration) time.Duration {
	if length >= Forever-now {
		return Forever
	}
	return now + length
}

// again decides on a request of an origin that has blocked the key already.
func (t *Table) again(key netip.Prefix, i int, r *Request, now time.Duration) Decision {
	b := &t.keys[key][i]
	b.Evidence = max(b.Evidence, r.Evidence)
	full := b.limited && r.Limit == 0
	if r.TTL <= 0 && !full {
		// Records that were under way are no repetition.
		return t.decide(Unchanged, key, b)
	}
	length, longest := t.lengthsOf(b.Step, r)
	until := after(now, length)
	if r.Origin.Kind == Rule {
		// A record only prolongs. A limit counts from the beginning.
		if r.Limit > 0 {
			until = min(until, after(b.Began, r.Limit))
		}
		until = max(until, b.Until)
	}
	if full {
		b.limited, b.limit = false, after(b.Began, longest)
	}
	b.limit = max(b.limit, until)
	return t.move(key, b, until)
}

// slack is a difference that is none. Who asks again for the time that is left gets another answer
// each time.
const slack = 5 * time.Second

// move changes when a block ends.
func (t *Table) move(key netip.Prefix, b *Block, until time.Duration) Decision {
	outcome := Unchanged
	switch {
	case until-b.Until >= slack:
		outcome = Prolonged
	case b.Until-until >= slack:
		outcome = Shortened
	default:
		return t.decide(outcome, key, b)
	}
	b.Until = until
	d := t.decide(outcome, key, b)
	t.schedule(key, until)
	return d
}

// Active prolongs the blocks of a key whose source still sends packets: each to at most the next
// step, counted from its beginning. It does so when half of the first length is left, so that
// there are few such decisions. A source that stays silent is free after Length at most.
func (t *Table) Active(key netip.Prefix, now time.Duration) []Decision {
	var prolonged []Decision
	for i := range t.keys[key] {
		b := &t.keys[key][i]
		if b.Step == 0 || b.Until <= now || b.Until-now > t.set.Length/2 {
			continue
		}
		until := min(now+t.set.Length, b.limit)
		// A few seconds more are not worth an event.
		if until-b.Until < t.set.Length/60 {
			continue
		}
		if !b.raised {
			// It lasts as long as the next one would have.
			b.raised, b.Step = true, min(b.Step+1, maxStep)
		}
		prolonged = append(prolonged, t.move(key, b, until))
	}
	return prolonged
}

// Lift ends one origin's block of a key. What other origins decided stays.
func (t *Table) Lift(prefix netip.Prefix, origin Origin, now time.Duration) (Decision, bool) {
	key := t.Key(prefix)
	i := find(t.keys[key], origin)
	if i < 0 {
		return Decision{}, false
	}
	return t.end(key, i, Lifted, now), true
}

// LiftAll ends all blocks of a key.
func (t *Table) LiftAll(prefix netip.Prefix, now time.Duration) []Decision {
	key := t.Key(prefix)
	var ended []Decision
	for len(t.keys[key]) > 0 {
		ended = append(ended, t.end(key, 0, Lifted, now))
	}
	return ended
}
