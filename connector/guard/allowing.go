// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"net/netip"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
)

// lookEvery is how often the host is asked whom nobody may block. freshFor is how old the answer
// about ssh sessions may be when a block is made.
const (
	lookEvery = 5 * time.Second
	freshFor  = time.Second
)

// refresh asks the host and applies what changed.
func (k *keeper) refresh() {
	k.allowed.Look(k.host.boot())
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looked = k.host.boot()
	k.applyAllowed()
	if k.suspects != nil {
		k.suspects.Tick(k.looked, k.cleared)
	}
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
	k.applied = list
	k.mark()
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

// freshen asks the host about sessions, unless that was done a moment ago.
func (k *keeper) freshen(now time.Duration) {
	if now-k.looked > freshFor {
		k.allowed.LookAtSessions(now)
		k.looked = k.host.boot()
		k.applyAllowed()
	}
}

// isAllowed tells why a source is allowed, by a fresh answer of the host.
func (k *keeper) isAllowed(r *blocks.Request, now time.Duration) (allow.Entry, bool) {
	k.freshen(now)
	return k.allowed.Current().Find(r.Prefix)
}
