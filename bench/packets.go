// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import "context"

// measurePackets has the kernel run the TC program many times, on the same packet or on one
// from a new client each time.
func measurePackets(ctx context.Context, b *bench) error {
	seen := []string{"ns/packet", "empty-ns"}
	seenSYN := []string{"ns/packet", "reference-ns"}
	return b.take(ctx, goBenchmark{folder: "internal/probe/packets", pattern: "^BenchmarkTC$", times: 20, count: 3},
		fromBenchmark{id: "tc-data", benchmark: "BenchmarkTC/data", metric: "x-empty", seen: seen},
		fromBenchmark{id: "tc-syn-hit", benchmark: "BenchmarkTC/SYN", metric: "x-reference", seen: seenSYN},
		fromBenchmark{id: "tc-syn-miss", benchmark: "BenchmarkTC/SYN,_new_clients", metric: "x-reference", seen: seenSYN},
		fromBenchmark{id: "tc-syn-half-open-hit", benchmark: "BenchmarkTC/SYN,_half-open_tracked", metric: "x-reference", seen: seenSYN},
		fromBenchmark{id: "tc-syn-half-open-miss", benchmark: "BenchmarkTC/SYN,_half-open_tracked,_new_clients", metric: "x-reference", seen: seenSYN},
		fromBenchmark{id: "sources-data", benchmark: "BenchmarkTC/data,_sources_counted", metric: "x-empty", seen: seen},
		fromBenchmark{id: "sources-syn-known", benchmark: "BenchmarkTC/SYN,_of_a_known_source", metric: "x-reference", seen: seenSYN},
		fromBenchmark{id: "sources-syn-flood", benchmark: "BenchmarkTC/SYN,_of_a_flood", metric: "x-reference", seen: seenSYN})
}
