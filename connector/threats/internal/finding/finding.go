// SPDX-License-Identifier: Apache-2.0

// Package finding follows what rules found: a finding begins, grows and ends. Each of these is told
// once, however many records it took.
package finding

import "net/netip"

// Severity of a rule's findings.
type Severity uint8

// The severities.
const (
	Info Severity = iota
	Warn
	Error
)

// Rule describes a rule, to people and in each finding.
type Rule struct {
	Name, Category, Description string
	Severity                    Severity
	// Spoofable: some of the counted facts need no completed handshake, so that the sender's
	// address can be forged.
	Spoofable bool
	// Unit is what evidence counts.
	Unit string
	// Algorithm, Default, Evidence and Mistakes are for the documentation.
	Algorithm, Default, Evidence, Mistakes string
}

// Subject is what a finding is about: a rule, with a source, a service, or both.
type Subject struct {
	Rule          uint8
	Hi, Lo, Scope uint64
	Host, Service uint64
}

// State says why a finding is told.
type State uint8

// The states.
const (
	Begin State = iota
	Growth
	End
	// Summary stands for the findings of a rule that were not told, because there were too many.
	Summary
)

var states = [...]string{"begin", "growth", "end", "summary"}

// String is the value of tcp.threat.state.
func (s State) String() string { return states[s] }

// Fact is a number that supports a finding.
type Fact struct {
	Key   string
	Value float64
}

// Finding is one finding, as it is told.
type Finding struct {
	Rule  uint8
	State State
	ID    uint64
	// At is when it is told, First and Last when the first and the last evidence was seen.
	At, First, Last int64
	// Count is the evidence so far, in the rule's unit.
	Count      uint64
	Confidence float64
	Spoofable  bool

	// Source is the last address seen of Prefix; Peer the socket's end, if that is another.
	Source, Peer netip.Addr
	Prefix       netip.Prefix
	// Sources is a set, as far as it is named; SourceCount is its size.
	Sources     []string
	SourceCount int

	Server  netip.Addr
	Port    uint16
	Process string
	Hosts   []string

	Facts []Fact
	// Score is nil if a rule found it.
	Score *Score
	// Fingerprint and Label are those of a list.
	Fingerprint, Label string
	// User is whom requests were for. It is the client's word.
	User string
	// Signatures are those that matched, as far as they are named.
	Signatures []string
	// Suppressed is the number of findings that a summary stands for.
	Suppressed uint64
}

// OfSet makes it a finding about a set of sources.
func (f *Finding) OfSet(named []string, size int) *Finding {
	f.Source, f.Peer, f.Prefix = netip.Addr{}, netip.Addr{}, netip.Prefix{}
	f.Sources, f.SourceCount = named, size
	return f
}

// MaxWindows is how many windows in a row are counted, and each told once of a finding.
const MaxWindows = 10

// Score is a score and what it was made of.
type Score struct {
	Value float64
	// Model is the name of the model; empty for the anomaly score.
	Model string
	// Causes are the features that made it, the largest part first.
	Causes []string
	// Proven: the source completed a handshake in the window, so its address is not forged.
	Proven bool
	// Windows in a row had such a score of a model, this one included. It counts to MaxWindows.
	Windows int
	// Vector are the features that were read.
	Vector []Fact
}
