// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/timens"
)

const (
	// tick is the unit of times in /proc/PID/stat. USER_HZ is 100 on every supported
	// platform.
	tick = 10_000_000
	// maxExecutable is how much of an executable's name the kernel side copies. Names
	// from /proc must agree with it.
	maxExecutable = 63
)

// procFS reads a process's files. Each method answers only for the process of the key,
// never for a later one with the same pid. It reads the start time last: a process that
// still exists then also existed before.
type procFS struct {
	fs fs.FS
	// shift is what the files add to start times: the offset of our time namespace.
	shift time.Duration
}

// newProcFS treats an unreadable offset as 0. The kernel side reads it, too, and does not
// start in that case.
func newProcFS(root fs.FS) procFS {
	offsets, _ := timens.Read(root)
	return procFS{fs: root, shift: offsets.Boottime}
}

// executable returns the basename of the process's executable. It returns the task's name
// if the link cannot be read: kernel threads have none, and other users' need a
// privilege. It returns false if the process has ended.
func (p procFS) executable(key Key) (string, bool) {
	link, err := fs.ReadLink(p.fs, p.path(key, "exe"))
	if err == nil {
		link = path.Base(strings.TrimSuffix(link, " (deleted)"))
		link = link[:min(len(link), maxExecutable)]
	}
	comm, alive := p.stat(key)
	if err != nil {
		return comm, alive
	}
	return link, alive
}

// cgroups returns the process's /proc/PID/cgroup, or false if the process has ended.
func (p procFS) cgroups(key Key) (membership, bool) {
	data, err := fs.ReadFile(p.fs, p.path(key, "cgroup"))
	if err != nil {
		return membership{}, false
	}
	if _, alive := p.stat(key); !alive {
		return membership{}, false
	}
	return parseMembership(string(data)), true
}

// stat returns the task's name if the pid still belongs to the process.
func (p procFS) stat(key Key) (comm string, alive bool) {
	data, err := fs.ReadFile(p.fs, p.path(key, "stat"))
	if err != nil {
		return "", false
	}
	comm, start, ok := parseStat(string(data))
	if !ok {
		return "", false
	}
	// One tick of tolerance: kernels round where they convert.
	want := uint64(int64(key.Start)+int64(p.shift)) / tick
	return comm, start+1 >= want && start <= want+1
}

func (p procFS) path(key Key, file string) string {
	return "proc/" + strconv.FormatUint(uint64(key.PID), 10) + "/" + file
}

// parseStat reads the name and the start time, in ticks, of /proc/PID/stat. The name
// may have spaces and parentheses; no field after it does.
func parseStat(data string) (comm string, start uint64, ok bool) {
	opened, closed := strings.IndexByte(data, '('), strings.LastIndexByte(data, ')')
	if opened < 0 || closed < opened {
		return "", 0, false
	}
	// The field after the name is the third; the start time is the 22nd.
	fields := strings.Fields(data[closed+1:])
	const startField = 22 - 3
	if len(fields) <= startField {
		return "", 0, false
	}
	start, err := strconv.ParseUint(fields[startField], 10, 64)
	return data[opened+1 : closed], start, err == nil
}

// membership is what /proc/PID/cgroup says.
type membership struct {
	Container
	// unified, memory and pids are the paths in those hierarchies; "" if there is no
	// such hierarchy.
	unified, memory, pids string
	// legacy is set if there is any hierarchy of version 1.
	legacy bool
}

func parseMembership(data string) membership {
	var m membership
	for line := range strings.Lines(data) {
		number, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, dir, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		if number == "0" && controllers == "" {
			m.unified = dir
		} else {
			m.legacy = true
			m.takeLegacy(controllers, dir)
		}
		// Hierarchies can disagree, because a runtime need not use them all.
		if found := containerOf(dir); found.detail() > m.detail() {
			m.Container = found
		}
	}
	return m
}

func (m *membership) takeLegacy(controllers, dir string) {
	for controller := range strings.SplitSeq(controllers, ",") {
		switch controller {
		case "memory":
			m.memory = dir
		case "pids":
			m.pids = dir
		}
	}
}

// cgroup returns the path whose cgroup id the kernel side reads; "" if only roots are
// visible.
func (m *membership) cgroup() string {
	for _, dir := range [...]string{m.unified, m.memory, m.pids} {
		if dir != "" && dir != "/" {
			return dir
		}
	}
	return ""
}

// detail ranks results: a container is worth more than a pod.
func (c Container) detail() int {
	detail := 0
	if c.ID != "" {
		detail += 2
	}
	if c.PodUID != "" {
		detail++
	}
	return detail
}
