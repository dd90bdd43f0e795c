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

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// mounts gives a tool tracefs and debugfs where the host has not mounted them, in a
// mount namespace that ends with the tool.
const mounts = `mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
exec "$@"`

// startPeer runs a tracing tool and waits until its programs are loaded. The error is
// exec.ErrNotFound where the tool is not installed.
func startPeer(ctx context.Context, name string, args ...string) (*lab.Process, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("make bench-full installs what is missing: %w", err)
	}
	p, err := lab.Start(exec.Command("unshare", append([]string{"--mount", "sh", "-c", mounts, "sh", path}, args...)...))
	if err != nil {
		return nil, err
	}
	p.Name = name
	err = p.Wait(ctx, "watching", func() (bool, error) {
		use, err := lab.KernelUseOf(p.PID())
		return err == nil && use.Count("program") > 0, err
	})
	if err != nil {
		return nil, errors.Join(err, p.Stop(syscall.SIGKILL))
	}
	return p, nil
}

// runTime is the kernel time of all programs that a process holds.
func runTime(pid int) (time.Duration, error) {
	use, err := lab.KernelUseOf(pid)
	if err != nil {
		return 0, err
	}
	return use.RunTime, nil
}
