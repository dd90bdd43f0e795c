// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import "context"

// rounds is how often user space and the bare record are measured in turn.
const rounds = 7

// measureRecords compares what user space does for a connection with building the
// same record of constants, in turns, for the machine may be slower at one time.
func measureRecords(ctx context.Context, b *bench) error {
	var bare, bareAllocations, logs, logAllocations, metrics sample
	for range rounds {
		base, err := goBenchmark{"receiver/internal/emit", "^BenchmarkBare$", 100_000, 1}.run(ctx, b)
		if err != nil {
			return err
		}
		ours, err := goBenchmark{"receiver", "^BenchmarkConnectionClosed$", 100_000, 1}.run(ctx, b)
		if err != nil {
			return err
		}
		for _, f := range []struct {
			from         outcome
			name, metric string
			to           *sample
		}{
			{base, "BenchmarkBare", "ns/op", &bare},
			{base, "BenchmarkBare", "allocs/op", &bareAllocations},
			{ours, "BenchmarkConnectionClosed/logs_and_metrics", "ns/op", &logs},
			{ours, "BenchmarkConnectionClosed/logs_and_metrics", "allocs/op", &logAllocations},
			{ours, "BenchmarkConnectionClosed/metrics", "ns/op", &metrics},
		} {
			s, err := f.from.metric(f.name, f.metric)
			if err != nil {
				return err
			}
			*f.to = append(*f.to, s...)
		}
	}
	b.found("record", ratios(logs, bare), "%.0f against %.0f ns", logs.median(), bare.median())
	b.found("record-metrics", ratios(metrics, bare), "%.0f against %.0f ns", metrics.median(), bare.median())
	more := make(sample, rounds)
	for i := range more {
		more[i] = logAllocations[i] - bareAllocations[i]
	}
	b.found("record-allocations", more, "%.0f against %.0f", logAllocations.median(), bareAllocations.median())
	return nil
}
