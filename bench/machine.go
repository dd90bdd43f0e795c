// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is where the figures come from.
type machine struct {
	Kernel, Architecture, Model string
	CPUs                        int
	MemoryMiB                   uint64
}

// String is one line for people.
func (m machine) String() string {
	return fmt.Sprintf("Linux %s (%s), %d × %s, %d MiB of memory", m.Kernel, m.Architecture, m.CPUs, m.Model, m.MemoryMiB)
}

// thisMachine describes the host. What can't be read stays empty.
func thisMachine() machine {
	m := machine{Architecture: runtime.GOARCH, CPUs: runtime.NumCPU()}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryMiB = uint64(info.Totalram) * uint64(info.Unit) >> 20
	}
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			m.Model = strings.TrimSpace(value)
			break
		}
	}
	return m
}
