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

// measureHooks lets tcplife watch the connections of BenchmarkConnection, so that the
// kernel's statistics tell the time of both for the same connections. tcplife writes
// a record for each end of one, and so gets half the cost of a connection per record;
// what our hooks do at the client's end is in ours.
func measureHooks(ctx context.Context, b *bench) error {
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return fmt.Errorf("let the kernel take run times: %w", err)
	}
	defer stats.Close()
	var ours, theirs, runs sample
	for range 7 {
		kernel, count, record, err := hooksAgainstTcplife(ctx, b)
		if errors.Is(err, exec.ErrNotFound) {
			b.missing("hooks", err)
			return nil
		}
		if err != nil {
			return err
		}
		ours, theirs, runs = append(ours, kernel), append(theirs, record), append(runs, count)
	}
	b.found("hooks", ratios(ours, theirs), "%.0f ns in %.0f runs against %.0f ns", ours.median(), runs.median(), theirs.median())
	return nil
}

func hooksAgainstTcplife(ctx context.Context, b *bench) (ours, runs, theirs float64, err error) {
	life, err := startPeer(ctx, "tcplife")
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, life.stop(syscall.SIGINT)) }()
	before, err := runTime(life.pid())
	if err != nil {
		return 0, 0, 0, err
	}
	found, err := goBenchmark{folder: "internal/probe", pattern: "^BenchmarkConnection$", times: 2000, count: 1}.run(ctx, b)
	if err != nil {
		return 0, 0, 0, err
	}
	after, err := runTime(life.pid())
	if err != nil {
		return 0, 0, 0, err
	}
	// It writes its last records while it ends.
	if err := life.stop(syscall.SIGINT); err != nil {
		return 0, 0, 0, err
	}
	lines := strings.Count(life.output.String(), "\n") - 1
	if lines < 2000 {
		return 0, 0, 0, fmt.Errorf("tcplife wrote %d records:\n%.500s", lines, life.output.String())
	}
	kernel, err := found.metric("BenchmarkConnection", "kernel-ns/op")
	if err != nil {
		return 0, 0, 0, err
	}
	return kernel[0], found["BenchmarkConnection"]["runs/op"].median(), float64(after-before) / float64(lines), nil
}
