// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// cpu is the CPU time of all threads of a process so far, in user space and in the kernel.
// Ended threads do not count, but Go keeps its threads.
func cpu(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("process %d has no schedstat", pid)
	}
	var total time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		ran, _, _ := strings.Cut(string(text), " ")
		nanoseconds, err := strconv.ParseInt(ran, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read CPU time in %s: %w", file, err)
		}
		total += time.Duration(nanoseconds)
	}
	return total, nil
}

// resident is a process's resident memory in bytes.
func resident(pid int) (float64, error) {
	status, err := lab.Status(pid)
	if err != nil {
		return 0, err
	}
	kib, err := strconv.ParseFloat(strings.TrimSuffix(status["VmRSS"], " kB"), 64)
	if err != nil {
		return 0, fmt.Errorf("read resident memory: %w", err)
	}
	return kib * 1024, nil
}

// mapBytes is the kernel memory of the BPF maps that a process holds.
func mapBytes(pid int) (float64, error) {
	use, err := lab.KernelUseOf(pid)
	if err != nil {
		return 0, err
	}
	if use.Count("map") == 0 {
		return 0, fmt.Errorf("process %d holds no BPF maps", pid)
	}
	return float64(use.MapBytes), nil
}

// numberAfter returns the number behind a key.
func numberAfter(text, key string) (float64, error) {
	_, rest, ok := strings.Cut(text, key)
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 {
		return 0, fmt.Errorf("there is no %s", key)
	}
	value, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return 0, fmt.Errorf("behind %s: %w", key, err)
	}
	return value, nil
}
