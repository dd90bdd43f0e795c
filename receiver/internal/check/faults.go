// SPDX-License-Identifier: Apache-2.0

// Package check parses and checks the values of the receiver's configuration, and collects every
// fault with its key.
package check

import (
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fault"
)

// Faults collects what is wrong with a configuration.
type Faults = fault.Faults

// InRange checks that a value is between two others, both of which are allowed.
func InRange[T int | float64 | time.Duration](f *Faults, key string, value, low, high T) {
	fault.InRange(f, key, value, low, high)
}

// OneOf checks that a value is one of several.
func OneOf(f *Faults, key, value string, allowed ...string) { fault.OneOf(f, key, value, allowed...) }

// at is the key of an item of a list.
func at(key string, i int) string { return fault.At(key, i) }
