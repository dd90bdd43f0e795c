// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Object is something that the kernel holds for eBPF: a "program", "map" or "link".
type Object struct {
	Kind string
	ID   uint32
}

// KernelUse is what the kernel holds for a process, by the process's descriptors.
type KernelUse struct {
	// Descriptors counts all open files.
	Descriptors int
	// MapBytes is the memory of the maps.
	MapBytes int
	// RunTime is that of all programs, where the kernel takes it.
	RunTime time.Duration
	Objects map[Object]bool
}

// KernelUseOf reads it from /proc/PID/fdinfo.
func KernelUseOf(pid int) (*KernelUse, error) {
	folder := fmt.Sprintf("/proc/%d/fdinfo", pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("list open files: %w", err)
	}
	use := &KernelUse{Descriptors: len(entries), Objects: map[Object]bool{}}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		use.add(numbers(string(text)))
	}
	return use, nil
}

// numbers are the lines "KEY: NUMBER" of a text.
func numbers(text string) map[string]int {
	found := map[string]int{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
			found[key] = n
		}
	}
	return found
}

// add counts one descriptor. A link's also names the link's program.
func (u *KernelUse) add(info map[string]int) {
	for _, kind := range []string{"link", "prog", "map"} {
		id, ok := info[kind+"_id"]
		if !ok {
			continue
		}
		o := Object{strings.Replace(kind, "prog", "program", 1), uint32(id)}
		if !u.Objects[o] && kind == "map" {
			u.MapBytes += info["memlock"]
		}
		if !u.Objects[o] && kind == "prog" {
			u.RunTime += time.Duration(info["run_time_ns"])
		}
		u.Objects[o] = true
		return
	}
}

// Count is how many objects of a kind there are.
func (u *KernelUse) Count(kind string) (n int) {
	for o := range u.Objects {
		if o.Kind == kind {
			n++
		}
	}
	return n
}
