// SPDX-License-Identifier: Apache-2.0

// Package lab is what end-to-end tests and benchmarks share: a server and a client in
// network namespaces of their own, load between them, a collector beside the server, what
// it exports to, and what the collector and the kernel say about it from outside.
//
// Nothing here knows package testing: tests fail, and benchmarks report, what is returned.
package lab

import "time"

const (
	// Settle is how long a condition may take to become true.
	Settle = 30 * time.Second
	// Tick is the time between two checks of a condition.
	Tick = 50 * time.Millisecond
)
