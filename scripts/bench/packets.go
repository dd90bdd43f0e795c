// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
)

// measurePackets has the kernel run the TC program over and over on one packet.
func measurePackets(ctx context.Context, b *bench) error {
	found, err := goBenchmark{"internal/probe", "^BenchmarkTC$", 20, 5}.run(ctx, b)
	if err != nil {
		return err
	}
	var failed []error
	for _, f := range []struct{ id, benchmark, metric string }{
		{"tc-data", "data", "x-empty"},
		{"tc-syn-hit", "SYN", "x-bare"},
		{"tc-syn-miss", "SYN,_new_source", "x-bare"},
		{"tc-syn-half-open", "SYN,_half-open_tracked", "x-bare"},
	} {
		name := "BenchmarkTC/" + f.benchmark
		s, err := found.metric(name, f.metric)
		if err != nil {
			failed = append(failed, err)
			b.missing(f.id, err)
			continue
		}
		b.found(f.id, s, "%.0f ns", found[name]["ns/packet"].median())
	}
	return errors.Join(failed...)
}
