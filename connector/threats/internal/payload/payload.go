// SPDX-License-Identifier: Apache-2.0

// Package payload has a sample of the requests judged by an engine that is slow. It waits for
// nothing: what does not fit into its queue is counted, and goes on unjudged.
package payload

import "net/netip"

// Request is the content of a request, as far as the receiver was told to record it. Its strings
// are copies.
type Request struct {
	Client netip.Addr
	Server netip.Addr
	Port   uint16
	// Method is GET if unknown, Path has no query.
	Method, Path, Query string
	Headers             []Header
	// Body is cut to the bytes that the settings allow.
	Body []byte
}

// Header is a field of a head.
type Header struct{ Name, Value string }

// Verdict is what an engine says about a request.
type Verdict struct {
	// Rules are the numbers of those that matched, Score the sum of their scores.
	Rules []string
	Score int
}

// Engine judges requests, one at a time. It must not keep what it gets.
type Engine interface {
	Judge(r *Request) (Verdict, error)
	Close() error
}

// Outcome is what became of a request.
type Outcome uint8

// The outcomes.
const (
	Judged Outcome = iota
	// NotSampled were left out by share or by rate.
	NotSampled
	QueueFull
	// BudgetFull: those that wait hold as many bytes as they may.
	BudgetFull
	// Failed: the engine had an error.
	Failed
	Shutdown
	// Outcomes is their number.
	Outcomes
)

// String is the name in the internal metrics.
func (o Outcome) String() string {
	return [Outcomes]string{"judged", "not_sampled", "queue_full", "budget_full", "failed", "shutdown"}[o]
}
