// SPDX-License-Identifier: Apache-2.0

package crowdsec

import (
	"net/netip"
	"strings"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/address"
)

// Ignored is why a decision is not used.
type Ignored uint8

// The reasons.
const (
	// OtherType: not a ban, for example a captcha.
	OtherType Ignored = iota
	// OtherScope: neither an address nor a range, for example a country.
	OtherScope
	// Malformed: no address, no duration, or not the form that the API documents.
	Malformed
	// Unwanted: the policy refuses it.
	Unwanted
	// OverLimit: there is no room for more.
	OverLimit
	// Reasons is their number.
	Reasons
)

var ignoredNames = [Reasons]string{"other_type", "other_scope", "malformed", "unwanted", "over_limit"}

// String is the name in the internal metrics.
func (i Ignored) String() string { return ignoredNames[i] }

// maxDuration is the longest time of a decision.
const maxDuration = 10 * 365 * 24 * time.Hour

// decision is as the API writes it.
type decision struct {
	ID       int64  `json:"id"`
	Type     string `json:"type"`
	Scope    string `json:"scope"`
	Value    string `json:"value"`
	Duration string `json:"duration"`
	Scenario string `json:"scenario"`
}

// prefix is what the decision is about.
func (d *decision) prefix() (netip.Prefix, Ignored, bool) {
	if !strings.EqualFold(d.Type, "ban") {
		return netip.Prefix{}, OtherType, false
	}
	if !strings.EqualFold(d.Scope, "ip") && !strings.EqualFold(d.Scope, "range") {
		return netip.Prefix{}, OtherScope, false
	}
	prefix, err := address.Parse(d.Value)
	if err != nil {
		return netip.Prefix{}, Malformed, false
	}
	return prefix, 0, true
}

// left is how long the decision still counts.
func (d *decision) left() (time.Duration, bool) {
	left, err := time.ParseDuration(d.Duration)
	if err != nil {
		return 0, false
	}
	return min(left, maxDuration), true
}
