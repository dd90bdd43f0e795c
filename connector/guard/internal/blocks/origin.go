// SPDX-License-Identifier: Apache-2.0

package blocks

import (
	"math"
	"net/netip"
	"slices"
	"time"
)

// Forever is the end of a block that ends only when it is lifted, and the TTL that asks for it.
const Forever = time.Duration(math.MaxInt64)

// Kind is who decides.
type Kind uint8

// The kinds of origins.
const (
	// Rule: a record of a pipeline. Origin.Name is the rule.
	Rule Kind = iota
	// File: a list. Origin.Name is its path.
	File
	// CrowdSec: decisions of its local API. Origin.Name is empty, or tells several apart.
	CrowdSec
	// Operator: a person, with the tool.
	Operator
	// Kinds is their number.
	Kinds
)

var kindNames = [Kinds]string{"rule", "file", "crowdsec", "operator"}

// String is the name in events and metrics.
func (k Kind) String() string {
	if k >= Kinds {
		return "unknown"
	}
	return kindNames[k]
}

// Origin is who decided. Each origin has its own block of a key, and lifts no other's.
type Origin struct {
	Kind Kind
	Name string
}

// IsList tells whether an origin says at any time all that it blocks.
func (o Origin) IsList() bool { return o.Kind == File || o.Kind == CrowdSec }

// Block is what one origin has decided about a key.
type Block struct {
	Origin Origin
	// Rule is security_rule.name, or the scenario of CrowdSec; Reason is text for people.
	Rule, Reason string
	// Evidence counts what it was blocked for; 0 if unknown.
	Evidence uint64
	// Began and Until are since boot. Until may be Forever.
	Began, Until time.Duration
	// Step is 1 for the first block of a key, and more for repeaters; 0 if it has no steps.
	Step uint8
	// limit is the latest Until that prolonging may reach.
	limit time.Duration
	// limited: the request had a Limit. raised: prolonging has raised Step.
	limited, raised bool
}

// Left is the time until it ends; Forever if it doesn't.
func (b Block) Left(now time.Duration) time.Duration {
	if b.Until == Forever {
		return Forever
	}
	return max(b.Until-now, 0)
}

// Request asks for a block.
type Request struct {
	// Prefix is what is to be blocked. An address is a prefix of its full length.
	Prefix       netip.Prefix
	Origin       Origin
	Rule, Reason string
	Evidence     uint64
	// TTL is how long; 0 asks for the next step of the key. Only lists and people get more than MaxTTL.
	TTL time.Duration
	// Limit is the longest that the block may last with all prolonging; 0 sets none.
	Limit time.Duration
}

// Outcome is what became of a request, or of a block.
type Outcome uint8

// The outcomes.
const (
	// Unchanged: that origin has blocked the key already, for as long or longer.
	Unchanged Outcome = iota
	Blocked
	Prolonged
	// Shortened: a list or a person now gives it less time.
	Shortened
	Refused
	Ended
)

var outcomeNames = [...]string{"unchanged", "blocked", "prolonged", "shortened", "refused", "ended"}

// String is its name.
func (o Outcome) String() string { return outcomeNames[o] }

// Refusal is why a block was refused.
type Refusal string

// The refusals of the table. The caller has more.
const (
	NoAddress   Refusal = "no_address"
	TooWide     Refusal = "too_wide"
	TooMany     Refusal = "entries_limit"
	TooFast     Refusal = "rate_limit"
	ManyOrigins Refusal = "origins_limit"
)

// Cause is why a block ended.
type Cause string

// The causes.
const (
	// Expired: its time is over.
	Expired Cause = "expired"
	// Lifted: its origin, or a person, took it back.
	Lifted Cause = "lifted"
	// Gone: the list does not contain it any more.
	Gone Cause = "gone"
)

// Decision says what was done, and why.
type Decision struct {
	Outcome Outcome
	Refusal Refusal
	Cause   Cause
	// Key is what is blocked in the kernel.
	Key   netip.Prefix
	Block Block
	// Until is when the last block of the key ends, of all origins.
	Until time.Duration
	// Others is how many other origins block the key.
	Others int
}

// First tells whether the key was not blocked before.
func (d Decision) First() bool { return d.Outcome == Blocked && d.Others == 0 }

// Last tells whether the key is not blocked any more.
func (d Decision) Last() bool { return d.Outcome == Ended && d.Others == 0 }

// OnlyRules tells whether nobody but rules blocks a key.
func OnlyRules(held []Block) bool {
	return !slices.ContainsFunc(held, func(b Block) bool { return b.Origin.Kind != Rule })
}
