// SPDX-License-Identifier: Apache-2.0

// Package blocks is the table of what is blocked: which key, by whom, why and for how long.
//
// It is pure. It knows no kernel and no clock. Times are durations since boot that count
// suspended time (CLOCK_BOOTTIME), so that a step of the wall clock neither lifts a block early
// nor makes it stay. Each change returns a Decision; the caller turns it into an event and tells
// the kernel. A table belongs to one goroutine.
package blocks
