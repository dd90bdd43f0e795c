// SPDX-License-Identifier: Apache-2.0

package model

import "sync/atomic"

// Outcome is what became of a vector.
type Outcome uint8

// Outcomes. All but Scored are losses.
const (
	Scored Outcome = iota
	// QueueFull: the model is too slow for the vectors.
	QueueFull
	// CircuitOpen: requests pause after failures.
	CircuitOpen
	// Mismatch: the model takes other vectors.
	Mismatch
	// NotFinite: normalising made a value that is no finite number.
	NotFinite
	// Unreachable: no connection, or one that ended early.
	Unreachable
	// Timeout: no answer in time.
	Timeout
	// HTTPStatus: the answer has a status other than 200.
	HTTPStatus
	// ErrorAnswer: the answer has a member `error`.
	ErrorAnswer
	// InvalidAnswer: the answer is no JSON of the protocol, or lacks the output.
	InvalidAnswer
	// TooLarge: the answer is larger than any answer to so many vectors.
	TooLarge
	// WrongCount: the answer has too few or too many values.
	WrongCount
	// Null and NaN: this vector's score is none.
	Null
	NaN
	// Shutdown: the vector waited when the collector stopped.
	Shutdown

	outcomes
)

var outcomeNames = [outcomes]string{
	"scored", "queue_full", "circuit_open", "mismatch", "not_finite", "unreachable", "timeout", "http_status",
	"error_answer", "invalid_answer", "too_large", "wrong_count", "null", "nan", "shutdown",
}

func (o Outcome) String() string { return outcomeNames[o] }

// Outcomes are all outcomes.
func Outcomes() []Outcome {
	all := make([]Outcome, outcomes)
	for i := range all {
		all[i] = Outcome(i)
	}
	return all
}

// counts of vectors by outcome.
type counts [outcomes]atomic.Uint64

func (c *counts) add(o Outcome, n int) { c[o].Add(uint64(n)) }
