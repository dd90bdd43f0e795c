// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	// hookRounds is how often both watch, hookConnections how many connections.
	hookRounds      = 7
	hookConnections = 5000
)

func hookBenchmark(pattern string) goBenchmark {
	return goBenchmark{folder: "internal/probe", pattern: pattern, times: hookConnections, count: 1}
}

// hookTimes is kernel time by the kernel's own statistics, in nanoseconds.
type hookTimes struct {
	// ours is the time of all our hooks for one connection, runs how often they ran.
	ours, runs float64
	// record is the time of tcplife for one record.
	record float64
	// empty is the time that the statistics show for a program that does nothing.
	empty float64
}

// measureHooks lets tcplife watch the connections of BenchmarkConnection. The kernel's
// statistics then have the time of both for the same connections. tcplife writes a record for
// each end, so a record costs half a connection. Our time includes the client's end.
func measureHooks(ctx context.Context, b *bench) error {
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return fmt.Errorf("let the kernel take run times: %w", err)
	}
	defer stats.Close()
	if err := measureHooksAlone(ctx, b); err != nil {
		return err
	}
	var ours, theirs, runs, empty, statistics sample
	for range hookRounds {
		t, err := hooksAgainstTcplife(ctx, b)
		if errors.Is(err, exec.ErrNotFound) {
			for _, id := range []string{"hooks", "hooks-empty", "hooks-own", "hooks-statistics"} {
				b.missing(id, err)
			}
			return nil
		}
		if err != nil {
			return err
		}
		ours, theirs = append(ours, t.ours), append(theirs, t.record)
		runs, empty, statistics = append(runs, t.runs), append(empty, t.empty), append(statistics, t.runs*t.empty)
	}
	b.found("hooks", ratios(ours, theirs), "%.0f ns in %.0f runs against %.0f ns", ours.median(), runs.median(), theirs.median())
	b.found("hooks-empty", ratios(ours, statistics), "%.0f ns against %.0f ns", ours.median(), statistics.median())
	b.found("hooks-own", ours, "")
	b.found("hooks-statistics", statistics, "%.1f runs of an empty program, %.0f ns each", runs.median(), empty.median())
	return nil
}

// measureHooksAlone measures all our hooks for one connection in runs of an empty program,
// while no other tool displaces what the hooks have in the processors' caches.
func measureHooksAlone(ctx context.Context, b *bench) error {
	figures := map[string]string{
		"hooks-alone": "BenchmarkConnection",
		"hooks-two":   "BenchmarkConnectionPlaced/two",
		"hooks-one":   "BenchmarkConnectionPlaced/one",
	}
	samples := make(map[string]sample)
	for range hookRounds {
		found, err := hookBenchmark("^BenchmarkConnection(Placed)?$").run(ctx, b)
		if err != nil {
			return err
		}
		for id, benchmark := range figures {
			ratio, err := found.metric(benchmark, "x-empty")
			if err != nil {
				return err
			}
			samples[id] = append(samples[id], ratio.median())
		}
	}
	for id, s := range samples {
		b.found(id, s, "")
	}
	return nil
}

func hooksAgainstTcplife(ctx context.Context, b *bench) (t hookTimes, err error) {
	life, err := startPeer(ctx, "tcplife")
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, life.Stop(syscall.SIGINT)) }()
	before, err := runTime(life.PID())
	if err != nil {
		return t, err
	}
	found, err := hookBenchmark("^BenchmarkConnection$").run(ctx, b)
	if err != nil {
		return t, err
	}
	after, err := runTime(life.PID())
	if err != nil {
		return t, err
	}
	// It writes its last records while it ends.
	if err := life.Stop(syscall.SIGINT); err != nil {
		return t, err
	}
	lines := strings.Count(life.Output(), "\n") - 1
	if lines < hookConnections {
		return t, fmt.Errorf("tcplife wrote %d records:\n%.500s", lines, life.Output())
	}
	t.record = float64(after-before) / float64(lines)
	kernel, err1 := found.metric("BenchmarkConnection", "kernel-ns/op")
	runs, err2 := found.metric("BenchmarkConnection", "runs/op")
	empty, err3 := found.metric("BenchmarkConnection", "empty-ns")
	t.ours, t.runs, t.empty = kernel.median(), runs.median(), empty.median()
	return t, errors.Join(err1, err2, err3)
}
