// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// mounts gives a tool tracefs and debugfs where the host has not mounted them, in a
// mount namespace that ends with the tool.
const mounts = `mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
exec "$@"`

// startPeer runs a tracing tool and waits until its programs are loaded. The error is
// exec.ErrNotFound where the tool is not installed.
func startPeer(ctx context.Context, name string, args ...string) (*process, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("make bench-full installs what is missing: %w", err)
	}
	p, err := start(exec.Command("unshare", append([]string{"--mount", "sh", "-c", mounts, "sh", path}, args...)...))
	if err != nil {
		return nil, err
	}
	p.name = name
	err = p.wait(ctx, "watching", func() (bool, error) {
		loaded, err := descriptors(p.pid(), "prog_type:")
		return len(loaded) > 0, err
	})
	if err != nil {
		return nil, errors.Join(err, p.stop(syscall.SIGKILL))
	}
	return p, nil
}

// runTime is the kernel time of all programs that a process holds.
func runTime(pid int) (time.Duration, error) {
	programs, err := descriptors(pid, "prog_type:")
	if err != nil {
		return 0, err
	}
	seen, total := map[float64]bool{}, time.Duration(0)
	for _, program := range programs {
		id, err := numberAfter(program, "prog_id:")
		if err != nil || seen[id] {
			continue
		}
		seen[id] = true
		ran, err := numberAfter(program, "run_time_ns:")
		if err != nil {
			return 0, err
		}
		total += time.Duration(ran)
	}
	return total, nil
}
