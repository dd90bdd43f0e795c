// SPDX-License-Identifier: Apache-2.0

// Package intake decides which records may block: by their rule, by whether their sender can have
// been forged, and by whether their source stands for many. Who is allowed, it does not know.
package intake

import (
	"net/netip"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/address"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/figures"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/record"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/shares"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/suspects"
)

// spoofableFor is how long a source is blocked at most by what can be forged.
const spoofableFor = 10 * time.Minute

// Settings of an intake.
type Settings struct {
	// Rules are those that may block. TrustUnmarked are those whose records need not say that the
	// sender can't have been forged, Spoofable those that may block even if it can.
	Rules, TrustUnmarked, Spoofable []string
	// Models are those that may block alone.
	Models Models
	// Suspects is how many open findings are remembered.
	Suspects int
	// Shares says who stands for many; nil if that is not of interest.
	Shares *shares.Settings
	// Key is what stands for one source.
	Key func(netip.Prefix) netip.Prefix
}

// Verdict is what becomes of a record.
type Verdict struct {
	// Outcome counts the record: figures.Request, OtherRule or NothingAsked. All below is only of a
	// request.
	Outcome int
	Request blocks.Request
	// Refusal is why it must not block; empty if it may. AllowedBy says more about it.
	Refusal   blocks.Refusal
	AllowedBy string
	// Lift says that a former block of the same origin must not hold, either.
	Lift bool
	// Seen is when the latest evidence was seen, in nanoseconds since 1970; 0 if unknown.
	Seen int64
}

// Intake belongs to one goroutine at a time, but for Asks.
type Intake struct {
	set      Settings
	suspects *suspects.Set
	standing standing
	trials   trials
}

// New makes an intake that knows no source.
func New(set Settings, now time.Duration) *Intake {
	i := &Intake{set: set, suspects: suspects.New(set.Suspects), standing: newStanding(set.Shares, now), trials: newTrials(set.Models.Names, now)}
	i.Trials(now)
	return i
}

// Asks tells whether any record names a rule that may block. Any goroutine may call it.
func (i *Intake) Asks(logs plog.Logs) bool {
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, r := range scope.LogRecords().All() {
				if rule, ok := record.Rule(r); ok && slices.Contains(i.set.Rules, rule) {
					return true
				}
			}
		}
	}
	return false
}

// Read takes what a record says, and decides what becomes of it.
func (i *Intake) Read(r plog.LogRecord, now time.Duration) Verdict {
	i.standing.learn(r, now)
	asked, ok := record.Read(r)
	if !ok {
		return Verdict{Outcome: figures.NothingAsked}
	}
	more := i.suspect(&asked, now)
	switch {
	case !slices.Contains(i.set.Rules, asked.Rule):
		return Verdict{Outcome: figures.OtherRule}
	case asked.Over:
		return Verdict{Outcome: figures.NothingAsked}
	}
	return i.judge(&asked, more, now)
}

// judge decides on what a record asks for, with how much evidence is new.
func (i *Intake) judge(a *record.Asked, more uint64, now time.Duration) Verdict {
	v := Verdict{Outcome: figures.Request, Seen: a.Seen, Request: blocks.Request{
		Origin: blocks.Origin{Kind: blocks.Rule, Name: a.Rule}, Rule: a.Rule, Reason: a.Reason, Evidence: a.Evidence, TTL: a.TTL,
	}}
	if !a.Address.IsValid() {
		v.Refusal = figures.NoSocketAddress
		return v
	}
	v.Request.Prefix = address.Of(a.Address)
	switch {
	case suspects.IsScore(a.Rule):
		// A score counts what can be forged, too. The finding can't be.
		if !i.suspects.Has(i.set.Key(v.Request.Prefix)) {
			i.alone(&v, a)
		}
		if v.Refusal != "" {
			return v
		}
	case !i.forgeable(a):
	case !slices.Contains(i.set.Spoofable, a.Rule):
		v.Refusal = figures.Spoofable
		return v
	default:
		return i.standing.spoofable(v, now)
	}
	if many, is := i.standing.isShared(v.Request.Prefix, more, now); is {
		v.Refusal, v.AllowedBy, v.Lift = figures.Shared, string(many.Why), true
	}
	return v
}

// forgeable tells whether the sender of what a record reports may be another.
func (i *Intake) forgeable(a *record.Asked) bool {
	return a.Spoofable || !a.Marked && !slices.Contains(i.set.TrustUnmarked, a.Rule)
}

// suspect keeps which sources have an open finding, of whichever rule, and returns how much of its
// evidence is new.
func (i *Intake) suspect(a *record.Asked, now time.Duration) (more uint64) {
	if !a.Address.IsValid() || i.forgeable(a) {
		return 0
	}
	source := i.set.Key(address.Of(a.Address))
	if !a.Over {
		return i.suspects.Open(source, a.Rule, a.Evidence, now)
	}
	if i.suspects.Ended(source, a.Rule) {
		i.standing.cleared(source)
	}
	return 0
}

// Tick forgets findings of which nothing was heard for too long.
func (i *Intake) Tick(now time.Duration) { i.suspects.Tick(now, i.standing.cleared) }
