// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/deadline"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/tally"
	"github.com/ebpftcp/ebpftcpreceiver/internal/guard"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// tickEvery is how often the deadline is renewed, and blocks end.
const tickEvery = 500 * time.Millisecond

// maxAllowed is how many allowed prefixes the programs can have.
const maxAllowed = 200_000

// attach loads and attaches the programs. A kernel that refuses them leaves a dry run without
// counts; an interface that does not exist is a fault of the configuration.
func (k *keeper) attach(host component.Host) error {
	sources := k.cfg.Limits.Sources
	// So that lists and people don't take the room of rules.
	sources += blocks.Defaults().Limits[blocks.Operator]
	if len(k.cfg.BlockFiles) > 0 {
		sources += blocks.Defaults().Limits[blocks.File]
	}
	if k.cfg.CrowdSec.Client.Endpoint != "" {
		sources += k.cfg.Limits.Networks
	}
	loaded, err := k.host.open(guard.Options{
		IncludeInterfaces: k.cfg.Interfaces, ExcludeInterfaces: k.cfg.ExcludeInterfaces,
		TCMode: tc.Mode(k.cfg.TCMode), Forwarded: k.cfg.Scope == "all", AllProtocols: k.cfg.AllProtocols,
		IPv6Prefix: k.cfg.IPv6Prefix, Sources: sources, Networks: k.cfg.Limits.Networks,
		Allowed: maxAllowed, FailOpenAfter: k.cfg.FailOpenAfter, Managers: tc.ForProcess(), Logger: k.set.Logger,
	})
	if err != nil {
		k.mu.Lock()
		k.mode = modeDryRun
		k.mu.Unlock()
		k.report(host, "the kernel refuses the guard, which blocks nothing", err)
		return nil
	}
	k.mu.Lock()
	k.kernel = loaded
	k.mu.Unlock()
	k.deadline = &deadline.Deadline{Kernel: loaded, KillFile: k.cfg.KillFile, Logger: k.set.Logger, Failed: func() { k.failed.Add(1) }, Begun: k.askForCut}
	if err := loaded.Start(); err != nil {
		return err
	}
	var refused error
	for _, state := range loaded.States() {
		refused = errors.Join(refused, state.Err)
	}
	if refused != nil {
		k.report(host, "the guard is not attached to all interfaces", refused)
	}
	k.warnOfCuts(loaded)
	return nil
}

// warnOfCuts says what is lost where open connections can't be ended.
func (k *keeper) warnOfCuts(loaded kernel) {
	if !k.cfg.Cut || k.cfg.Mode != modeEnforce {
		return
	}
	way, err := loaded.CutsBy()
	if way == "" {
		k.set.Logger.Warn("open connections of blocked sources can't be ended; they last until the server's own timeouts", zap.Error(err))
		return
	}
	k.set.Logger.Info("open connections of blocked sources are ended", zap.String("by", way))
}

func (k *keeper) detach() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.table = nil
	k.deadline.End()
	k.deadline = nil
	if k.kernel == nil {
		return nil
	}
	err := k.kernel.Close()
	k.kernel = nil
	return err
}

// note counts what the kernel refused, and logs it.
func (k *keeper) note(what string, err error) {
	if err != nil {
		k.failed.Add(1)
		k.set.Logger.Warn("the kernel refused something to the guard", zap.String("what", what), zap.Error(err))
	}
}

// put blocks in the kernel what the table says.
func (k *keeper) put(key netip.Prefix, until, now time.Duration) error {
	if k.kernel == nil {
		return nil
	}
	_, within := k.applied.Within(key)
	if within {
		k.asking[key] = true
	} else {
		delete(k.asking, key)
	}
	mode := k.modeFor(key)
	b := guard.Block{HasAllowed: within, DryRun: mode == modeDryRun}
	if mode == modeLimit {
		b.Limit = uint32(k.cfg.PacketsPerSecond)
	}
	if until != blocks.Forever {
		b.Left = max(until-now, time.Millisecond)
	}
	if err := k.kernel.Put(key, b); err != nil {
		return err
	}
	if mode == modeEnforce {
		k.askForCut()
	}
	return nil
}

func (k *keeper) askForCut() {
	if !k.cfg.Cut {
		return
	}
	select {
	case k.cut <- struct{}{}:
	default:
	}
}

// remove ends a block in the kernel and adds up what it dropped; false if that is unknown.
func (k *keeper) remove(key netip.Prefix, by *blocks.Block) (guard.Counts, bool) {
	if k.kernel == nil {
		return guard.Counts{}, false
	}
	delete(k.asking, key)
	counts, err := k.kernel.Remove(key)
	k.note("end a block", err)
	if err != nil {
		return counts, false
	}
	k.tally.Add(key, blockedBy(by), tally.Counts{Packets: counts.Packets, Bytes: counts.Bytes})
	k.tally.Forget(key)
	return counts, true
}

func blockedBy(b *blocks.Block) tally.By {
	return tally.By{Origin: b.Origin.Kind.String(), Rule: b.Rule}
}

// found is what the kernel counted for a block.
type found struct {
	key    netip.Prefix
	counts guard.Counts
}

// sweep adds up what blocks dropped, and prolongs those whose sources still send.
func (k *keeper) sweep() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kernel == nil || k.table == nil {
		return
	}
	var all []found
	err := k.kernel.Each(func(key netip.Prefix, counts guard.Counts) {
		if counts.Idle >= 0 {
			all = append(all, found{key, counts})
		}
	})
	k.note("read what was dropped", err)
	now := k.host.boot()
	for _, f := range all {
		held := k.table.Get(f.key)
		if len(held) == 0 {
			continue
		}
		grown := k.tally.Add(f.key, blockedBy(&held[0]), tally.Counts{Packets: f.counts.Packets, Bytes: f.counts.Bytes})
		if grown && k.cfg.WhileActive {
			for _, d := range k.table.Active(f.key, now) {
				k.apply(&d, now)
			}
		}
	}
	if totals, err := k.kernel.Totals(); err == nil {
		k.figures.Passed = totals.Packets
	}
}

// runCuts ends open connections when it is asked to, away from who decides.
func (k *keeper) runCuts(ctx context.Context, cutting kernel, holds *deadline.Deadline) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.cut:
		}
		// While everything passes, connections stay, too. Cuts are asked for again when that ends.
		if !holds.Holding() || !k.drops() {
			continue
		}
		n, err := cutting.Cut()
		k.ended.Add(uint64(n))
		if err != nil {
			k.failed.Add(1)
			k.set.Logger.Warn("not all connections of blocked sources were ended", zap.Int("ended", n), zap.Error(err))
		}
	}
}

// drops tells whether packets of any source are dropped.
func (k *keeper) drops() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mode == modeEnforce && k.table != nil && k.table.Len() > 0
}
