// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/address"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocklog"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/figures"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/record"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/suspects"
)

// ask decides on what a record asks for, with how much evidence is new. The caller holds mu.
func (k *keeper) ask(a *record.Asked, more uint64) {
	now := k.host.boot()
	r := blocks.Request{
		Origin: blocks.Origin{Kind: blocks.Rule, Name: a.Rule}, Rule: a.Rule, Reason: a.Reason, Evidence: a.Evidence, TTL: a.TTL,
	}
	if !a.Address.IsValid() {
		k.refuse(figures.NoSocketAddress, &r, "", now)
		return
	}
	r.Prefix = address.Of(a.Address)
	if k.forgeable(a) {
		k.refuse(figures.Spoofable, &r, "", now)
		return
	}
	if suspects.IsScore(a.Rule) && !k.suspects.Has(k.table.Key(r.Prefix)) {
		k.refuse(figures.NoFinding, &r, "", now)
		return
	}
	if v, is := k.isShared(r.Prefix, more, now); is {
		k.refuse(figures.Shared, &r, string(v.Why), now)
		if d, held := k.table.Lift(r.Prefix, r.Origin, now); held {
			k.apply(&d, now)
		}
		return
	}
	if k.request(&r, now) && a.Seen > 0 {
		k.figures.Delay.Add(k.host.wall().Sub(time.Unix(0, a.Seen)))
	}
}

// forgeable tells whether the sender of what a record reports may be another.
func (k *keeper) forgeable(a *record.Asked) bool {
	return a.Spoofable || !a.Marked && !slices.Contains(k.cfg.TrustUnmarked, a.Rule)
}

// suspect keeps which sources have an open finding, of whichever rule, and returns how much of its
// evidence is new. The caller holds mu.
func (k *keeper) suspect(a *record.Asked, now time.Duration) (more uint64) {
	if !a.Address.IsValid() || k.forgeable(a) {
		return 0
	}
	source := k.table.Key(address.Of(a.Address))
	if !a.Over {
		return k.suspects.Open(source, a.Rule, a.Evidence, now)
	}
	if k.suspects.Ended(source, a.Rule) {
		k.cleared(source)
	}
	return 0
}

// request blocks unless the allow-list or the table refuses; true if the source was not
// blocked before.
func (k *keeper) request(r *blocks.Request, now time.Duration) bool {
	if entry, ok := k.isAllowed(r, now); ok {
		k.refuse(figures.Allowed, r, string(entry.Why), now)
		return false
	}
	d := k.table.Block(r, now)
	return k.apply(&d, now) && d.Outcome == blocks.Blocked && d.First()
}

// refuse counts a refusal and tells it, as far as the minute has room.
func (k *keeper) refuse(why blocks.Refusal, r *blocks.Request, allowedBy string, now time.Duration) {
	key := r.Prefix
	if key.IsValid() {
		key = k.table.Key(key)
	}
	k.refused(why, key, &blocks.Block{Origin: r.Origin, Rule: r.Rule, Reason: r.Reason, Evidence: r.Evidence}, allowedBy, now)
}

func (k *keeper) refused(why blocks.Refusal, key netip.Prefix, b *blocks.Block, allowedBy string, now time.Duration) {
	k.figures.Refusals[why]++
	if now-k.refusals >= time.Minute {
		k.refusals, k.told = now, 0
	}
	if k.told >= k.cfg.MaxRefusals {
		k.figures.Untold++
		return
	}
	k.told++
	k.tell(&blocklog.Event{Name: blocklog.Refused, Key: key, Block: *b, Refusal: why, AllowedBy: allowedBy})
}

// apply tells the kernel and the pipeline what the table decided; false if there is no block.
func (k *keeper) apply(d *blocks.Decision, now time.Duration) bool {
	k.changed = k.changed || d.Outcome != blocks.Refused && d.Outcome != blocks.Unchanged
	switch d.Outcome {
	case blocks.Refused:
		k.refused(d.Refusal, d.Key, &d.Block, "", now)
		return false
	case blocks.Blocked:
		if err := k.put(d.Key, d.Until, now); err != nil {
			k.note("block a source", err)
			k.table.Lift(d.Key, d.Block.Origin, now)
			k.refused(figures.Kernel, d.Key, &d.Block, "", now)
			return false
		}
		k.tell(&blocklog.Event{Name: blocklog.Blocked, Key: d.Key, Block: d.Block, Left: d.Block.Left(now), Mode: k.modeFor(d.Key)})
	case blocks.Prolonged, blocks.Shortened:
		k.note("change a block", k.put(d.Key, d.Until, now))
	case blocks.Ended:
		k.end(d, now)
	}
	return true
}

// end tells what was dropped, if nobody else blocks the same.
func (k *keeper) end(d *blocks.Decision, now time.Duration) {
	e := blocklog.Event{Name: blocklog.Unblocked, Key: d.Key, Block: d.Block, Cause: d.Cause}
	if d.Last() {
		counts, known := k.remove(d.Key, &d.Block)
		e.Counted, e.Packets, e.Bytes = known, counts.Packets, counts.Bytes
	} else {
		k.note("change a block", k.put(d.Key, d.Until, now))
	}
	k.tell(&e)
}

// expire ends the blocks whose time is over.
func (k *keeper) expire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.table == nil {
		return
	}
	now := k.host.boot()
	for _, d := range k.table.Tick(now) {
		k.apply(&d, now)
	}
}

func (k *keeper) tell(e *blocklog.Event) {
	if k.queue == nil || k.quiet {
		return
	}
	e.At = k.host.wall()
	if e.Mode == "" {
		e.Mode = k.mode
	}
	k.queue.Add(e)
}
