// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"net/netip"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
)

// lookEvery is how often the host is asked whom nobody may block.
const lookEvery = 5 * time.Second

// refresh asks the host and applies what changed.
func (k *keeper) refresh() {
	k.allowed.Look(k.host.boot())
	k.mu.Lock()
	defer k.mu.Unlock()
	k.applyAllowed()
	k.intake.Tick(k.host.boot())
}

// applyAllowed tells the kernel of a changed list, and lifts the blocks that it forbids. The
// caller holds mu.
func (k *keeper) applyAllowed() {
	list := k.allowed.Current()
	if k.table == nil || list == k.applied {
		return
	}
	if k.kernel != nil {
		var all []netip.Prefix
		for _, entry := range list.All() {
			all = append(all, entry.Prefix)
		}
		// Whole blocks are lifted all the same.
		k.note("allow", k.kernel.Allow(all))
	}
	first := k.applied == nil
	k.applied = list
	k.mark()
	if k.withheld && !first {
		k.withheld = false
		k.replay()
	}
}

// withhold notes that an entry of a list is allowed, so that it is to come back afterwards. It reports
// whether that was never told: lists are decided again whenever the allow-list changes.
func (k *keeper) withhold(o blocks.Origin, key netip.Prefix) bool {
	if !o.IsList() {
		return true
	}
	k.withheld = true
	return k.spared.Note(o, key)
}

// replay has the lists decided again: who was allowed may no longer be.
func (k *keeper) replay() {
	if k.files != nil {
		k.files.Again()
	}
	if k.api != nil {
		k.api.Again()
	}
}

// mark lifts blocks of allowed sources, and has the programs ask for the list where a block
// contains an allowed address.
func (k *keeper) mark() {
	var keys []netip.Prefix
	for key := range k.table.All() {
		_, whole := k.applied.Find(key)
		_, within := k.applied.Within(key)
		if whole || within != k.asking[key] {
			keys = append(keys, key)
		}
	}
	now := k.host.boot()
	for _, key := range keys {
		if _, whole := k.applied.Find(key); whole {
			for _, d := range k.table.LiftAll(key, now) {
				k.withheld = k.withheld || d.Block.Origin.IsList()
				k.apply(&d, now)
			}
			continue
		}
		until := time.Duration(0)
		for _, b := range k.table.Get(key) {
			until = max(until, b.Until)
		}
		k.note("change a block", k.put(key, until, now))
	}
}
