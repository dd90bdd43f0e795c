// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"net/netip"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/figures"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/intake"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/shares"
)

func (k *keeper) intakeSettings() intake.Settings {
	s := intake.Settings{
		Rules: k.cfg.Rules, TrustUnmarked: k.cfg.TrustUnmarked, Spoofable: k.cfg.BlockSpoofable.Rules,
		Models:   intake.Models{Names: k.cfg.Models.Alone, Windows: int64(k.cfg.Models.Windows), DryRunFirst: k.cfg.Models.DryRunFirst},
		Suspects: k.cfg.Limits.Sources, Key: k.table.Key,
	}
	if k.cfg.Shares.Enabled {
		of := shares.Defaults()
		of.IPv6Prefix, of.MaxShare, of.Window = k.cfg.IPv6Prefix, k.cfg.Shares.MaxShare, k.cfg.Shares.Window
		s.Shares = &of
	}
	return s
}

// read decides on records. Before Start and after Shutdown there is nobody to decide.
func (k *keeper) read(logs plog.Logs) {
	k.mu.Lock()
	deciding := k.intake
	if k.table == nil {
		deciding = nil
	}
	k.mu.Unlock()
	if deciding == nil {
		return
	}
	if deciding.Asks(logs) {
		k.allowed.Freshen(k.host.boot())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.table == nil {
		return
	}
	k.applyAllowed()
	now := k.host.boot()
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, r := range scope.LogRecords().All() {
				v := deciding.Read(r, now)
				k.figures.Records[v.Outcome]++
				if v.Outcome == figures.Request {
					k.ask(&v)
				}
			}
		}
	}
}

// ask carries a verdict out. The caller holds mu.
func (k *keeper) ask(v *intake.Verdict) {
	now := k.host.boot()
	if v.Refusal != "" {
		k.refuse(v.Refusal, &v.Request, v.AllowedBy, now)
		if !v.Lift {
			return
		}
		if d, held := k.table.Lift(v.Request.Prefix, v.Request.Origin, now); held {
			k.apply(&d, now)
		}
		return
	}
	if k.request(&v.Request, now) && v.Seen > 0 {
		k.figures.Delay.Add(k.host.wall().Sub(time.Unix(0, v.Seen)))
	}
}

// weigh decides whether rules may block now, and changes their blocks with that.
func (k *keeper) weigh() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.table == nil {
		return
	}
	now := k.host.boot()
	for _, origin := range k.intake.Trials(now) {
		k.endTrial(origin, now)
	}
	w := k.intake.Weigh(now)
	if w.Missing {
		k.set.Logger.Warn("rules only count: " + w.Why)
	}
	if !w.Changed {
		return
	}
	if w.Why == "" {
		k.set.Logger.Info("rules block")
		k.lift(now)
	} else {
		k.set.Logger.Warn("rules only count now", zap.String("why", w.Why))
	}
	k.enter(blocks.OnlyRules)
}

// lift ends the blocks of rules that would not be made now: who stands for many was not known
// while they were a dry run.
func (k *keeper) lift(now time.Duration) {
	var shared []netip.Prefix
	for key, held := range k.table.All() {
		if blocks.OnlyRules(held) && k.intake.Shared(key, now) {
			shared = append(shared, key)
		}
	}
	for _, key := range shared {
		for _, d := range k.table.LiftAll(key, now) {
			k.apply(&d, now)
		}
	}
}

// endTrial ends the blocks that a model made while they only counted: the next one holds.
func (k *keeper) endTrial(origin blocks.Origin, now time.Duration) {
	k.set.Logger.Info("a model blocks alone", zap.String("model", origin.Name))
	var keys []netip.Prefix
	for key, held := range k.table.All() {
		if slices.ContainsFunc(held, func(b blocks.Block) bool { return b.Origin == origin }) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		if d, ok := k.table.Lift(key, origin, now); ok {
			k.apply(&d, now)
		}
	}
}

// modeFor is what happens to packets of a source now. Blocks of rules alone are a dry run until
// it is known who stands for many, and those of a model alone until its trial ends.
func (k *keeper) modeFor(key netip.Prefix) string {
	held := k.table.Get(key)
	tried := !slices.ContainsFunc(held, func(b blocks.Block) bool { return !k.intake.OnTrial(b.Origin) })
	if len(held) > 0 && tried || !k.intake.Ready() && blocks.OnlyRules(held) {
		return modeDryRun
	}
	return k.mode
}

// restored tells which blocks of a former run are put back: not those of rules that may block no
// longer, and those of a dry run only in a dry run that is configured.
func (k *keeper) restored(mode string) func(blocks.Origin) bool {
	tried := mode == modeDryRun && k.cfg.Mode != modeDryRun
	return func(o blocks.Origin) bool {
		return outlives(o) && !k.intake.OnTrial(o) && (o.Kind != blocks.Rule || !tried && k.intake.IsOrigin(o.Name))
	}
}
