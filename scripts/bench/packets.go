// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import "context"

// measurePackets has the kernel run the TC program over and over on one packet.
func measurePackets(ctx context.Context, b *bench) error {
	seen := []string{"ns/packet"}
	return b.take(ctx, goBenchmark{folder: "internal/probe", pattern: "^BenchmarkTC$", times: 20, count: 5},
		fromBenchmark{id: "tc-data", benchmark: "BenchmarkTC/data", metric: "x-empty", seen: seen},
		fromBenchmark{id: "tc-syn-hit", benchmark: "BenchmarkTC/SYN", metric: "x-bare", seen: seen},
		fromBenchmark{id: "tc-syn-miss", benchmark: "BenchmarkTC/SYN,_new_source", metric: "x-bare", seen: seen},
		fromBenchmark{id: "tc-syn-half-open", benchmark: "BenchmarkTC/SYN,_half-open_tracked", metric: "x-bare", seen: seen})
}
