// SPDX-License-Identifier: Apache-2.0

// Package filter selects the events that somebody wants to see.
package filter

import (
	"path"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/event"
)

// Filter wants what fulfills all its conditions. The empty one wants all that people read.
type Filter struct {
	// Process is a name of an executable, or a pattern with the syntax of path.Match.
	Process string
	// Failed wants failures, warnings and findings.
	Failed bool
	// Slow is the least duration. Events without a duration are not wanted.
	Slow time.Duration
}

// Check returns what is wrong with the pattern.
func (f *Filter) Check() error {
	_, err := path.Match(f.Process, "")
	return err
}

// Wants says whether an event is wanted. Counts per source and per listener are for programs.
func (f *Filter) Wants(e *event.Event) bool {
	if e.Kind == event.Source {
		return false
	}
	if f.Process != "" {
		if matches, err := path.Match(f.Process, e.Process); err != nil || !matches {
			return false
		}
	}
	if f.Failed && !e.Bad {
		return false
	}
	return f.Slow <= 0 || e.Duration.Known() && e.Duration.Duration() >= f.Slow
}
