// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"net/netip"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocklog"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/figures"
)

// request blocks unless the allow-list or the table refuses; true if the source was not
// blocked before.
func (k *keeper) request(r *blocks.Request, now time.Duration) bool {
	if entry, ok := k.applied.Find(r.Prefix); ok {
		if k.withhold(r.Origin, k.table.Key(r.Prefix)) {
			k.refuse(figures.Allowed, r, string(entry.Why), now)
		}
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
	e := &blocklog.Event{Name: blocklog.Refused, Key: key, Block: *b, Refusal: why, AllowedBy: allowedBy}
	e.At, e.Mode = k.host.wall(), k.mode
	k.outlet.Refuse(e, now)
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
	if k.quiet {
		k.outlet.Quiet()
		return
	}
	e.At = k.host.wall()
	if e.Mode == "" {
		e.Mode = k.mode
	}
	k.outlet.Tell(e)
}
