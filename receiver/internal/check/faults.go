// SPDX-License-Identifier: Apache-2.0

// Package check parses and checks the values of a configuration, and collects every fault with
// its key.
package check

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Faults collects what is wrong with a configuration.
type Faults []error

// Add notes a fault of a key.
func (f *Faults) Add(key, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %w", key, fmt.Errorf(format, args...)))
}

// InRange checks that a value is between two others, both of which are allowed.
func InRange[T int | float64 | time.Duration](f *Faults, key string, value, low, high T) {
	// So that not-a-number is a fault.
	if !(value >= low && value <= high) {
		f.Add(key, "%v is out of range, allowed are %v to %v", value, low, high)
	}
}

// OneOf checks that a value is one of several.
func OneOf(f *Faults, key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		f.Add(key, "%q is unknown, allowed are %q", value, allowed)
	}
}

// at is the key of an item of a list.
func at(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }
