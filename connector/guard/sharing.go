// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"net/netip"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/record"
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

// isShared tells whether a rule must not block a source, because it stands for many.
func (k *keeper) isShared(a *record.Asked, prefix netip.Prefix, now time.Duration) (shares.Verdict, bool) {
	if k.judge == nil {
		return shares.Verdict{}, false
	}
	before := k.evidence[prefix]
	if len(k.evidence) < k.cfg.Limits.Sources {
		k.evidence[prefix] = a.Evidence
	}
	k.judge.Evidence(prefix, int64(a.Evidence-min(before, a.Evidence)), now)
	k.judge.Opened(prefix, now, now)
	v := k.judge.Judge(prefix, now)
	return v, v.Exempt()
}

// closed forgets a finding that is over.
func (k *keeper) closed(a *record.Asked) {
	if k.judge == nil || !a.Address.IsValid() {
		return
	}
	prefix, err := a.Address.Prefix(a.Address.BitLen())
	if err == nil {
		k.judge.Ended(prefix)
		delete(k.evidence, prefix)
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
	k.enter(onlyRules)
}

func onlyRules(held []blocks.Block) bool {
	for i := range held {
		if held[i].Origin.Kind != blocks.Rule {
			return false
		}
	}
	return true
}

// modeFor is what happens to packets of a source now. Blocks of rules alone are a dry run until
// it is known who stands for many.
func (k *keeper) modeFor(key netip.Prefix) string {
	if k.judge != nil && !k.ready && onlyRules(k.table.Get(key)) {
		return modeDryRun
	}
	return k.mode
}
