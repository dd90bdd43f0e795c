// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/crowdsec"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/figures"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/follow"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/lists"
)

// toldOfAList is how many changes of one list become records. More are only logged and counted.
const toldOfAList = 100

// fromCrowdSec is where its decisions come from.
var fromCrowdSec = blocks.Origin{Kind: blocks.CrowdSec}

// newFiles are those of the configuration; those that allow were read.
func (k *keeper) newFiles() *follow.Files {
	files := &follow.Files{
		Block: k.cfg.BlockFiles, Allow: k.cfg.AllowFiles, Blocked: k.blockList, Allowed: k.allowList,
		Networks: k.allowed.Networks, Now: k.host.boot, Wall: k.host.wall, Logger: k.set.Logger,
	}
	files.Begin()
	return files
}

func (k *keeper) allowList(u *lists.Update) {
	entries := make([]allow.Entry, 0, len(u.Entries))
	for _, e := range u.Entries {
		entries = append(entries, allow.Entry{Prefix: e.Prefix, Why: allow.File, Detail: u.File})
	}
	k.allowed.Replace("file "+u.File, entries)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.applyAllowed()
}

// blockList makes the blocks of a file those that it contains now.
func (k *keeper) blockList(u *lists.Update) {
	k.allowed.Freshen(k.host.boot())
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.table == nil {
		return
	}
	k.applyAllowed()
	now := k.host.boot()
	origin := blocks.Origin{Kind: blocks.File, Name: u.File}
	listed := make([]blocks.Listed, 0, len(u.Entries))
	for _, e := range u.Entries {
		listed = append(listed, blocks.Listed{Prefix: e.Prefix, Until: e.Until, Reason: e.Reason})
	}
	k.replace(origin, k.wanted(origin, listed, now), now)
}

// wanted is what remains of a list without what is allowed, or was lifted by hand. The caller holds
// mu.
func (k *keeper) wanted(origin blocks.Origin, listed []blocks.Listed, now time.Duration) []blocks.Listed {
	keys, spared := make(map[netip.Prefix]bool), make(map[netip.Prefix]bool)
	all := slices.DeleteFunc(listed, func(l blocks.Listed) bool {
		if k.byHand.Len() > 0 {
			key := k.table.Key(l.Prefix)
			keys[key] = true
			if k.byHand.Has(origin, key) {
				return true
			}
		}
		entry, is := k.applied.Find(l.Prefix)
		if !is {
			return false
		}
		key := k.table.Key(l.Prefix)
		if spared[key] = true; k.withhold(origin, key) {
			k.refuse(figures.Allowed, &blocks.Request{Prefix: l.Prefix, Origin: origin, Rule: l.Rule, Reason: l.Reason}, string(entry.Why), now)
		}
		return true
	})
	k.byHand.Keep(origin, keys)
	k.spared.Keep(origin, spared)
	return all
}

// decided makes the blocks of CrowdSec what it says.
func (k *keeper) decided(u crowdsec.Update) {
	k.allowed.Freshen(k.host.boot())
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.table == nil {
		return
	}
	k.applyAllowed()
	now := k.host.boot()
	if u.Full {
		listed := make([]blocks.Listed, 0, len(u.Entries))
		for _, e := range u.Entries {
			listed = append(listed, blocks.Listed{Prefix: e.Prefix, Until: e.Until, Rule: e.Scenario})
		}
		k.replace(fromCrowdSec, k.wanted(fromCrowdSec, listed, now), now)
		return
	}
	for _, prefix := range u.Lifted {
		key := k.table.Key(prefix)
		k.byHand.Forget(fromCrowdSec, key)
		k.spared.Forget(fromCrowdSec, key)
		if d, ok := k.table.Lift(prefix, fromCrowdSec, now); ok {
			k.apply(&d, now)
		}
	}
	for _, e := range u.Entries {
		// A new ban counts, also of whom a person had freed before.
		k.byHand.Forget(fromCrowdSec, k.table.Key(e.Prefix))
		if e.Until <= now {
			continue // over while it waited
		}
		k.request(&blocks.Request{Prefix: e.Prefix, Origin: fromCrowdSec, Rule: e.Scenario, TTL: e.Until - now}, now)
	}
}

// replace applies the difference between a list and what was blocked for it. The caller holds mu.
func (k *keeper) replace(origin blocks.Origin, wanted []blocks.Listed, now time.Duration) {
	var all []blocks.Decision
	change := k.table.Replace(origin, wanted, now, func(d *blocks.Decision) { all = append(all, *d) })
	k.quiet = len(all) > toldOfAList
	for i := range all {
		k.apply(&all[i], now)
	}
	k.quiet = false
	k.set.Logger.Info("a list was read", zap.Stringer("origin", origin.Kind), zap.String("name", origin.Name),
		zap.Int("added", change.Added), zap.Int("gone", change.Gone), zap.Int("kept", change.Kept+change.Moved), zap.Int("refused", change.Refused))
}
