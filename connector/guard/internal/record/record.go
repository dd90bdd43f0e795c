// SPDX-License-Identifier: Apache-2.0

// Package record takes from a log record what the guard needs to decide on a block.
package record

import (
	"net/netip"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// Names of attributes that are read.
const (
	ruleName    = "security_rule.name"
	peer        = "network.peer.address"
	client      = "client.address"
	spoofable   = "tcp.threat.spoofable"
	proven      = "tcp.threat.proven"
	windows     = "tcp.threat.windows"
	state       = "tcp.threat.state"
	evidence    = "tcp.threat.evidence"
	lastSeen    = "tcp.threat.last.time_unix_nano"
	ttl         = "tcp.block.ttl"
	reason      = "tcp.block.reason"
	ownEvents   = "tcp.server."
	ownDecision = "tcp.server.source."
)

// Bounds of text that is kept.
const (
	maxRule   = 128
	maxReason = 256
)

// Asked is what a record asks for.
type Asked struct {
	// Rule is security_rule.name, and Reason is for people.
	Rule, Reason string
	// Address is that of the socket's other end; invalid if the record doesn't name it.
	Address netip.Addr
	// Marked tells whether the record says if its sender can have been forged, and Spoofable
	// what it says.
	Marked, Spoofable bool
	Evidence          uint64
	// Proven tells of a score that its source completed a handshake in the window, and Windows in
	// how many windows in a row it was high.
	Proven  bool
	Windows int64
	// TTL is how long the block is to last; 0 if the record doesn't say.
	TTL time.Duration
	// Seen is when the latest evidence was seen, in nanoseconds since 1970; 0 if unknown.
	Seen int64
	// Over tells that the finding has ended. Then nothing is asked for.
	Over bool
}

// Rule is the rule that a record names; false if it names none, or is a decision of a guard.
func Rule(r plog.LogRecord) (string, bool) {
	rule := text(r.Attributes(), ruleName, maxRule)
	return rule, rule != "" && !decided(r.EventName())
}

// Read returns what a record asks for; false if it asks for nothing: it names no rule, it sums
// up several findings, or it is a decision of a guard.
func Read(r plog.LogRecord) (a Asked, ok bool) {
	attributes := r.Attributes()
	if a.Rule, ok = Rule(r); !ok {
		return a, false
	}
	switch text(attributes, state, maxRule) {
	case "", "begin", "growth":
	case "end":
		a.Over = true
	default:
		return a, false
	}
	a.Reason = text(attributes, reason, maxReason)
	a.Address = socketAddress(r.EventName(), attributes)
	if v, found := attributes.Get(spoofable); found && v.Type() == pcommon.ValueTypeBool {
		a.Marked, a.Spoofable = true, v.Bool()
	}
	a.Evidence = uint64(max(number(attributes, evidence), 0))
	if v, found := attributes.Get(proven); found && v.Type() == pcommon.ValueTypeBool {
		a.Proven = v.Bool()
	}
	a.Windows = number(attributes, windows)
	a.TTL = seconds(attributes)
	if a.Seen = number(attributes, lastSeen); a.Seen <= 0 {
		a.Seen = int64(r.Timestamp())
	}
	return a, true
}

// decided tells whether an event is a guard's own. They name rules, too.
func decided(event string) bool {
	what, ok := strings.CutPrefix(event, ownDecision)
	return ok && (what == "blocked" || what == "unblocked" || what == "block_refused")
}

// socketAddress is the peer of the socket. By the conventions client.address may come from a
// header, so it counts only for events of this project, which say if it does.
func socketAddress(event string, attributes pcommon.Map) netip.Addr {
	if v, found := attributes.Get(peer); found {
		return address(v)
	}
	if !strings.HasPrefix(event, ownEvents) {
		return netip.Addr{}
	}
	if v, found := attributes.Get(client); found {
		return address(v)
	}
	return netip.Addr{}
}

// address is invalid for anything that is no IP address.
func address(v pcommon.Value) netip.Addr {
	if v.Type() != pcommon.ValueTypeStr {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(v.Str())
	if err != nil || a.Zone() != "" {
		return netip.Addr{}
	}
	return a.Unmap()
}

func text(attributes pcommon.Map, key string, most int) string {
	v, found := attributes.Get(key)
	if !found || v.Type() != pcommon.ValueTypeStr {
		return ""
	}
	s := v.Str()
	return clean.String(s[:min(len(s), most)])
}

func number(attributes pcommon.Map, key string) int64 {
	if v, found := attributes.Get(key); found && v.Type() == pcommon.ValueTypeInt {
		return v.Int()
	}
	return 0
}

// maxTTL is more than any configuration allows.
const maxTTL = 10 * 365 * 24 * 3600

// seconds may be fractions of one.
func seconds(attributes pcommon.Map) time.Duration {
	v, found := attributes.Get(ttl)
	if !found {
		return 0
	}
	var s float64
	switch v.Type() {
	case pcommon.ValueTypeInt:
		s = float64(v.Int())
	case pcommon.ValueTypeDouble:
		s = v.Double()
	}
	if !(s > 0) {
		return 0
	}
	return time.Duration(min(s, maxTTL) * float64(time.Second))
}
