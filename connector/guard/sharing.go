// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"net/netip"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/shares"
)

// listenerEvent comes each interval of sources, whatever clients do.
const listenerEvent = "tcp.server.listener"

// warnAfter is how long records about connections may be missing before the log says so.
const warnAfter = 30 * time.Second

func (k *keeper) shareSettings() shares.Settings {
	s := shares.Defaults()
	s.IPv6Prefix, s.MaxShare, s.Window = k.cfg.IPv6Prefix, k.cfg.Shares.MaxShare, k.cfg.Shares.Window
	return s
}

// learn takes what a record says about shares. The caller holds mu.
func (k *keeper) learn(r plog.LogRecord, now time.Duration) {
	if k.judge == nil {
		return
	}
	if k.reader.Read(r, &k.shareRecord) {
		k.judge.Add(&k.shareRecord, now)
		k.connections = now
	} else if r.EventName() == listenerEvent {
		// An idle host has no others.
		k.judge.Seen(now)
		k.connections = now
	}
}

// isShared tells whether a rule must not block a source, because it stands for many. More is the
// evidence that is new.
func (k *keeper) isShared(prefix netip.Prefix, more uint64, now time.Duration) (shares.Verdict, bool) {
	if k.judge == nil {
		return shares.Verdict{}, false
	}
	k.judge.Evidence(prefix, int64(more), now)
	k.judge.Opened(prefix, now, now)
	v := k.judge.Judge(prefix, now)
	return v, v.Exempt()
}

// cleared notes that a source has no finding any more.
func (k *keeper) cleared(source netip.Prefix) {
	if k.judge != nil {
		k.judge.Ended(source)
	}
}

// weigh decides whether rules may block now, and changes their blocks with that.
func (k *keeper) weigh() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.judge == nil || k.table == nil {
		return
	}
	now := k.host.boot()
	k.judge.Tick(now)
	why := ""
	if !k.judge.Ready(now) {
		why = "records of tcp.server.connection.close or tcp.server.source were not seen for long enough: list the guard in the pipeline of the receiver, too"
	} else if crowd := k.judge.Concentrated(now); crowd.Concentrated {
		why = "most connections come through a few addresses: name proxies and load balancers in allow"
	}
	ready := why == ""
	if ready == k.ready {
		if !ready && !k.warned && now-k.began > warnAfter && now-k.connections > warnAfter {
			k.warned = true
			k.set.Logger.Warn("rules only count: " + why)
		}
		return
	}
	k.ready = ready
	if ready {
		k.set.Logger.Info("rules block")
	} else {
		k.set.Logger.Warn("rules only count now", zap.String("why", why))
	}
	if ready {
		k.lift(now)
	}
	k.enter(blocks.OnlyRules)
}

// lift ends the blocks of rules that would not be made now: who stands for many was not known
// while they were a dry run.
func (k *keeper) lift(now time.Duration) {
	var shared []netip.Prefix
	for key, held := range k.table.All() {
		if blocks.OnlyRules(held) && k.judge.Judge(key, now).Exempt() {
			shared = append(shared, key)
		}
	}
	for _, key := range shared {
		for _, d := range k.table.LiftAll(key, now) {
			k.apply(&d, now)
		}
	}
}

// modeFor is what happens to packets of a source now. Blocks of rules alone are a dry run until
// it is known who stands for many.
func (k *keeper) modeFor(key netip.Prefix) string {
	if k.judge != nil && !k.ready && blocks.OnlyRules(k.table.Get(key)) {
		return modeDryRun
	}
	return k.mode
}
