// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
)

// measurePath compares the work of user space for a connection, from the ring buffer to the
// consumer, with building the same record from constants.
func measurePath(ctx context.Context, b *bench) error {
	seen := []string{"ns/record", "bare-ns/record", "allocs/record", "bare-allocs/record"}
	return b.take(ctx, goBenchmark{folder: "receiver", pattern: "^BenchmarkPath$", times: 20, count: 5},
		fromBenchmark{id: "record", benchmark: "BenchmarkPath/logs", metric: "x-bare", seen: seen},
		fromBenchmark{id: "record-allocations", benchmark: "BenchmarkPath/logs", metric: "allocs/record", minus: "bare-allocs/record"},
		fromBenchmark{id: "record-metrics", benchmark: "BenchmarkPath/metrics", metric: "x-bare", seen: seen},
		fromBenchmark{id: "record-bare", benchmark: "BenchmarkPath/logs", metric: "bare-ns/record"},
		fromBenchmark{id: "record-both", benchmark: "BenchmarkPath/logs_and_metrics", metric: "x-bare", seen: seen})
}

// measurePass compares one pass over open connections with ss over the same ones: by the best
// way that this kernel has, and by the second best, for kernels that refuse the first.
func measurePass(ctx context.Context, b *bench) error {
	seen := []string{"ns/connection", "ss-ns/connection"}
	best := goBenchmark{folder: "receiver", pattern: "^BenchmarkSnapshot$/^100000$", times: 7, count: 1}
	second := goBenchmark{folder: "receiver", pattern: "^BenchmarkSnapshotWays$/^syscall$", times: 7, count: 1}
	return errors.Join(
		b.take(ctx, best, fromBenchmark{id: "pass", benchmark: "BenchmarkSnapshot/100000", metric: "x-ss", seen: seen}),
		b.take(ctx, second, fromBenchmark{id: "pass-syscall", benchmark: "BenchmarkSnapshotWays/syscall", metric: "x-ss", seen: seen}))
}
