// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"math"
	"net/netip"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fault"
)

// MaxExcept is how many prefixes a rule may leave out.
const MaxExcept = 1024

// Bounds of the settings, both ends allowed.
const (
	minWindow, maxWindow = time.Second, 24 * time.Hour
	maxCount             = 1_000_000
	minShare, maxShare   = 0.0, 1.0
	maxTimes             = 1_000_000.0
	least                = 1e-9
)

// rule is what all rules can be told.
type rule struct {
	enabled bool
	except  []string
}

// named are the rules by their names, which are their keys, too.
func (r *Rules) named() map[string]rule {
	return map[string]rule{
		"port_scan":         {r.PortScan.Enabled, r.PortScan.Except},
		"stealth_scan":      {r.StealthScan.Enabled, r.StealthScan.Except},
		"out_of_state_scan": {r.OutOfStateScan.Enabled, r.OutOfStateScan.Except},
		"distributed_scan":  {r.DistributedScan.Enabled, r.DistributedScan.Except},
		"syn_flood":         {r.SYNFlood.Enabled, r.SYNFlood.Except},
		"overload":          {r.Overload.Enabled, r.Overload.Except},
		"slow_hold":         {r.SlowHold.Enabled, r.SlowHold.Except},
		"login_guessing":    {r.LoginGuessing.Enabled, r.LoginGuessing.Except},
		"land":              {r.Land.Enabled, r.Land.Except},
		"port_zero":         {r.PortZero.Enabled, r.PortZero.Except},
		"bogon":             {r.Bogon.Enabled, r.Bogon.Except},
		"malformed":         {r.Malformed.Enabled, r.Malformed.Except},
		"http_auth":         {r.HTTPAuth.Enabled, r.HTTPAuth.Except},
		"http_probing":      {r.HTTPProbing.Enabled, r.HTTPProbing.Except},
		"tls_fingerprint":   {r.TLSFingerprint.Enabled, r.TLSFingerprint.Except},
		"literal_signature": {r.LiteralSignature.Enabled, r.LiteralSignature.Except},
		"payload_signature": {r.PayloadSignature.Enabled, r.PayloadSignature.Except},
	}
}

// Except are the prefixes that each rule leaves out, by the rule's name.
func (r *Rules) Except() map[string][]string {
	except := map[string][]string{}
	for name, of := range r.named() {
		except[name] = of.except
	}
	return except
}

// Enabled tells which rules are on.
func (r *Rules) Enabled() map[string]bool {
	enabled := map[string]bool{}
	for name, of := range r.named() {
		enabled[name] = of.enabled
	}
	return enabled
}

// Prefixes parses the exceptions of a rule, which were checked before.
func Prefixes(items []string) []netip.Prefix {
	var ignored fault.Faults
	return fault.Prefixes(&ignored, "", items, MaxExcept)
}

// Validate notes every fault, with its key.
func (r *Rules) Validate(f *fault.Faults) {
	for name, except := range r.Except() {
		fault.Prefixes(f, "rules::"+name+"::except", except, MaxExcept)
	}
	r.PortScan.validate(f)
	fault.InRange(f, "rules::stealth_scan::min_ports", r.StealthScan.MinPorts, 1, math.MaxUint16)
	fault.InRange(f, "rules::stealth_scan::window", r.StealthScan.Window, minWindow, maxWindow)
	fault.InRange(f, "rules::out_of_state_scan::min_ports", r.OutOfStateScan.MinPorts, 1, math.MaxUint16)
	fault.InRange(f, "rules::out_of_state_scan::window", r.OutOfStateScan.Window, minWindow, maxWindow)
	r.DistributedScan.validate(f)
	fault.InRange(f, "rules::syn_flood::min_rate", r.SYNFlood.MinRate, least, maxTimes)
	fault.InRange(f, "rules::syn_flood::drift", r.SYNFlood.Drift, 0, maxTimes)
	fault.InRange(f, "rules::syn_flood::threshold", r.SYNFlood.Threshold, least, maxTimes)
	fault.InRange(f, "rules::overload::queue_fill", r.Overload.QueueFill, minShare, maxShare)
	fault.InRange(f, "rules::overload::min_accept_time", r.Overload.MinAccept, time.Millisecond, maxWindow)
	fault.InRange(f, "rules::overload::accept_times_median", r.Overload.AcceptTimes, 1, maxTimes)
	fault.InRange(f, "rules::overload::share_times_median", r.Overload.ShareTimes, 1, maxTimes)
	fault.InRange(f, "rules::slow_hold::min_connections", r.SlowHold.MinConnections, 1, maxCount)
	fault.InRange(f, "rules::slow_hold::min_answered", r.SlowHold.MinAnswered, minShare, maxShare)
	r.LoginGuessing.validate(f)
	for name, count := range map[string]int{
		"land": r.Land.MinCount, "port_zero": r.PortZero.MinCount, "bogon": r.Bogon.MinCount, "malformed": r.Malformed.MinCount,
		"http_auth": r.HTTPAuth.MinCount,
	} {
		fault.InRange(f, "rules::"+name+"::min_count", count, 1, maxCount)
	}
	fault.InRange(f, "rules::http_auth::leak", r.HTTPAuth.Leak, time.Millisecond, maxWindow)
	fault.InRange(f, "rules::http_auth::min_users", r.HTTPAuth.MinUsers, 2, MaxMany)
	fault.InRange(f, "rules::http_auth::min_sources", r.HTTPAuth.MinSources, 2, MaxMany)
	fault.InRange(f, "rules::http_auth::window", r.HTTPAuth.Window, minWindow, maxWindow)
	fault.InRange(f, "rules::tls_fingerprint::min_handshakes", r.TLSFingerprint.MinHandshakes, 100, maxCount)
	fault.InRange(f, "rules::tls_fingerprint::max_share", r.TLSFingerprint.MaxShare, least, maxShare)
	fault.InRange(f, "rules::literal_signature::max_bytes", r.LiteralSignature.MaxBytes, 64, maxSearched)
	r.PayloadSignature.validate(f)
	fault.InRange(f, "rules::http_probing::min_paths", r.HTTPProbing.MinPaths, 1, MaxPaths)
	fault.InRange(f, "rules::http_probing::leak", r.HTTPProbing.Leak, time.Millisecond, maxWindow)
	fault.InRange(f, "rules::http_probing::min_share", r.HTTPProbing.MinShare, minShare, maxShare)
}

// MaxMany is how many users of a source, and sources of a user, are told apart.
const MaxMany = 64

// maxSearched is how many bytes of a value can be searched.
const maxSearched = 1 << 20

// Bounds of what may wait for the engine of payload_signature.
const minQueueBytes, maxQueueBytes = 64 << 10, 1 << 30

// MaxPaths is how many paths of a source are told apart.
const MaxPaths = 256

func (p *PortScan) validate(f *fault.Faults) {
	const key = "rules::port_scan::"
	fault.InRange(f, key+"client_success", p.ClientSuccess, 0.01, 0.99)
	fault.InRange(f, key+"scanner_success", p.ScannerSuccess, 0.01, 0.99)
	if p.ScannerSuccess >= p.ClientSuccess {
		f.Add(key+"scanner_success", "%v is not less than client_success (%v)", p.ScannerSuccess, p.ClientSuccess)
	}
	fault.InRange(f, key+"false_alarm", p.FalseAlarm, 1e-12, 0.49)
	fault.InRange(f, key+"detection", p.Detection, 0.51, 0.999999)
	fault.InRange(f, key+"remember", p.Remember, time.Minute, 30*24*time.Hour)
}

func (d *DistributedScan) validate(f *fault.Faults) {
	const key = "rules::distributed_scan::"
	fault.InRange(f, key+"min_alike", d.MinAlike, 2, 1000)
	fault.InRange(f, key+"gather", d.Gather, 0, time.Minute)
	fault.InRange(f, key+"min_sources", d.MinSources, 2, 1000)
	fault.InRange(f, key+"min_ports", d.MinPorts, 2, 1000)
	fault.InRange(f, key+"window", d.Window, minWindow, maxWindow)
}

func (l *LoginGuessing) validate(f *fault.Faults) {
	const key = "rules::login_guessing::"
	for i, port := range l.Ports {
		fault.InRange(f, fault.At(key+"ports", i), port, 1, math.MaxUint16)
	}
	fault.InRange(f, key+"min_connections", l.MinConnections, 1, maxCount)
	fault.InRange(f, key+"window", l.Window, minWindow, maxWindow)
	fault.InRange(f, key+"min_bytes", l.MinBytes, 0, math.MaxInt32)
	fault.InRange(f, key+"max_bytes", l.MaxBytes, 0, math.MaxInt32)
	if l.MaxBytes < l.MinBytes {
		f.Add(key+"max_bytes", "%d is less than min_bytes (%d)", l.MaxBytes, l.MinBytes)
	}
	fault.InRange(f, key+"max_duration", l.MaxDuration, time.Millisecond, maxWindow)
}

func (p *PayloadSignature) validate(f *fault.Faults) {
	const key = "rules::payload_signature::"
	fault.InRange(f, key+"paranoia", p.Paranoia, 1, 4)
	fault.InRange(f, key+"sample", p.Sample, minShare, maxShare)
	fault.InRange(f, key+"max_rate", p.MaxRate, 1, maxCount)
	fault.InRange(f, key+"max_bytes", p.MaxBytes, 64, maxSearched)
	fault.InRange(f, key+"queue_size", p.QueueSize, 1, 1<<16)
	fault.InRange(f, key+"queue_bytes", p.QueueBytes, minQueueBytes, maxQueueBytes)
	fault.InRange(f, key+"min_score", p.MinScore, 1, 1000)
}
