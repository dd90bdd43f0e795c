// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import "context"

// measureSystemCall finds what attribution::accept_tracepoint costs every system call
// of the host.
func measureSystemCall(ctx context.Context, b *bench) error {
	var with, without sample
	for range 7 {
		found, err := goBenchmark{folder: "internal/probe", pattern: "^BenchmarkSystemCall$", times: 500_000, count: 1}.run(ctx, b)
		if err != nil {
			return err
		}
		on, err := found.metric("BenchmarkSystemCall/with_accept_tracepoint", "ns/op")
		if err != nil {
			return err
		}
		off, err := found.metric("BenchmarkSystemCall/without_accept_tracepoint", "ns/op")
		if err != nil {
			return err
		}
		with, without = append(with, on...), append(without, off...)
	}
	b.found("system-call", ratios(with, without), "%.0f against %.0f ns", with.median(), without.median())
	return nil
}
