// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
)

// measureSources reads 65,536 followed sources, and has the connector judge records.
func measureSources(ctx context.Context, b *bench) error {
	seen := []string{"ns/record", "build-ns/record", "allocs/record"}
	return errors.Join(
		b.take(ctx, goBenchmark{folder: "internal/probe/sources", pattern: "^BenchmarkPass$", times: 20, count: 3},
			fromBenchmark{id: "sources-pass", benchmark: "BenchmarkPass", metric: "%core", seen: []string{"ns/source"}}),
		b.take(ctx, goBenchmark{folder: "connector/threats", pattern: "^BenchmarkJudge$", times: 30, count: 3},
			fromBenchmark{id: "judge-close", benchmark: "BenchmarkJudge/close", metric: "x-build", seen: seen},
			fromBenchmark{id: "judge-failed", benchmark: "BenchmarkJudge/failed", metric: "x-build", seen: seen},
			fromBenchmark{id: "judge-source", benchmark: "BenchmarkJudge/source", metric: "x-build", seen: seen}),
		b.take(ctx, goBenchmark{folder: "connector/threats", pattern: "^BenchmarkManySources$", times: 30, count: 3},
			fromBenchmark{id: "judge-many", benchmark: "BenchmarkManySources", metric: "%core", seen: []string{"ns/record"}}))
}
