// SPDX-License-Identifier: Apache-2.0

// Package timens reads by how much a time namespace shifts this process's clocks. The
// kernel side reads the clocks of the initial time namespace. clock_gettime(2) and
// /proc/PID/stat show them shifted.
package timens

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Offsets are added to the clocks of the initial time namespace, whose own Offsets are
// zero.
type Offsets struct {
	Monotonic, Boottime time.Duration
}

// initial is the initial time namespace: PROC_TIME_INIT_INO.
const initial = "time:[4026531834]"

// Read reads the offsets of this process. Of the root of the file system, os.DirFS("/"),
// it needs only /proc.
func Read(root fs.FS) (Offsets, error) {
	own, err := fs.ReadLink(root, "proc/self/ns/time")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Before Linux 5.6, or without CONFIG_TIME_NS.
		return Offsets{}, nil
	case err != nil:
		return Offsets{}, fmt.Errorf("read the time namespace: %w", err)
	case own == initial:
		return Offsets{}, nil
	}
	// The file describes the children's namespace. After unshare(CLONE_NEWTIME)
	// without a fork it is not this process's.
	children, err := fs.ReadLink(root, "proc/self/ns/time_for_children")
	if err != nil {
		return Offsets{}, fmt.Errorf("read the time namespace of children: %w", err)
	}
	if children != own {
		return Offsets{}, errors.New("this process's time namespace is not its children's, so that " +
			"its clock offsets can't be read: start it as a child of the process that made the time namespace")
	}
	data, err := fs.ReadFile(root, "proc/self/timens_offsets")
	if err != nil {
		return Offsets{}, fmt.Errorf("read the offsets of the time namespace: %w", err)
	}
	return parse(string(data))
}

// parse reads lines of a clock's name, seconds and nanoseconds.
func parse(data string) (Offsets, error) {
	var o Offsets
	for line := range strings.Lines(data) {
		var clock string
		var seconds, nanoseconds int64
		if _, err := fmt.Sscan(line, &clock, &seconds, &nanoseconds); err != nil {
			return Offsets{}, fmt.Errorf("read %q as an offset of the time namespace: %w", line, err)
		}
		offset := time.Duration(seconds)*time.Second + time.Duration(nanoseconds)
		switch clock {
		case "monotonic":
			o.Monotonic = offset
		case "boottime":
			o.Boottime = offset
		}
	}
	return o, nil
}
