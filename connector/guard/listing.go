// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/figures"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/lists"
)

// pollEvery is how often files are looked for changes.
const pollEvery = time.Second

// toldOfAList is how many changes of one list become records. More are only logged and counted.
const toldOfAList = 100

// runLists follows the files until the context ends.
func (k *keeper) runLists(ctx context.Context) {
	refuse := lists.DefaultPolicy(k.allowed.Networks).Refuse
	blocked := lists.New(lists.Settings{Patterns: k.cfg.BlockFiles, Limits: lists.DefaultLimits(), Refuse: refuse, Known: k.blockedUntil})
	allowed := lists.New(lists.Settings{Patterns: k.cfg.AllowFiles, Limits: lists.DefaultLimits()})
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var own []netip.Prefix
	for {
		now, wall := k.host.boot(), k.host.wall()
		if networks := k.allowed.Networks(); !slices.Equal(own, networks) {
			own = networks
			blocked.Reload()
		}
		// Who is allowed counts first.
		for _, u := range allowed.Poll(now, wall) {
			k.logFaults(&u)
			k.allowList(&u)
		}
		for _, u := range blocked.Poll(now, wall) {
			k.logFaults(&u)
			k.blockList(&u)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// blockedUntil tells until when a file's entry is blocked that was restored after a restart.
func (k *keeper) blockedUntil(file string, prefix netip.Prefix) (time.Duration, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.table == nil {
		return 0, false
	}
	for _, b := range k.table.Get(k.table.Key(prefix)) {
		if b.Origin.Kind == blocks.File && b.Origin.Name == file {
			return b.Until, true
		}
	}
	return 0, false
}

func (k *keeper) logFaults(u *lists.Update) {
	for _, fault := range u.Faults {
		k.set.Logger.Warn("a line of a list has no effect", zap.Stringer("fault", fault))
	}
	if u.Untold > 0 {
		k.set.Logger.Warn("more lines of a list have no effect", zap.String("file", u.File), zap.Int("lines", u.Untold))
	}
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
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.table == nil {
		return
	}
	now := k.host.boot()
	origin := blocks.Origin{Kind: blocks.File, Name: u.File}
	wanted := make([]blocks.Listed, 0, len(u.Entries))
	list := k.allowed.Current()
	for _, e := range u.Entries {
		if entry, ok := list.Find(e.Prefix); ok {
			k.refuse(figures.Allowed, &blocks.Request{Prefix: e.Prefix, Origin: origin, Reason: e.Reason}, string(entry.Why), now)
			continue
		}
		until := e.Until
		if until == lists.Forever {
			until = blocks.Forever
		}
		wanted = append(wanted, blocks.Listed{Prefix: e.Prefix, Until: until, Reason: e.Reason})
	}
	k.replace(origin, wanted, now)
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
