// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"io/fs"
	"strings"
	"time"
)

// DefaultMaxProcesses is the number of processes that a Table remembers by default.
const DefaultMaxProcesses = 16384

// Options configure a Table.
type Options struct {
	// FS is the root of the file system: os.DirFS("/"). Only /proc and the cgroup
	// mounts are read. If its /proc is not of the initial pid namespace, only
	// sightings are known.
	FS fs.FS
	// MaxProcesses bounds the remembered processes. Those used least recently are
	// dropped first. 0 means DefaultMaxProcesses.
	MaxProcesses int
	// Container asks for the container of each process.
	Container bool
	// Now replaces the clock in tests; nil means time.Now.
	Now func() time.Time
}

// Table knows the processes that the kernel side has observed. Its results stay valid.
// The Table itself is not safe for concurrent use.
type Table struct {
	proc      procFS
	cgroups   *cgroups
	container bool
	processes *recent[Key, entry]
	workloads *interned
}

// entry is a process of the table.
type entry struct {
	// process is nil if nothing is known.
	process *Process
	// cgroup is the id that was sighted.
	cgroup uint64
	// pending is set while the container of an ended process still has to be
	// searched.
	pending bool
}

// NewTable creates an empty table. It reads only the offset of our clocks.
func NewTable(options Options) *Table {
	if options.MaxProcesses <= 0 {
		options.MaxProcesses = DefaultMaxProcesses
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Table{
		proc:      newProcFS(options.FS),
		cgroups:   newCgroups(options.FS, options.Now),
		container: options.Container,
		processes: newRecent[Key, entry](options.MaxProcesses),
		workloads: newInterned(),
	}
}

// Seen records a process. It finds the container at once, because the process can end
// soon. A later sighting of the same process, as after an exec, replaces the earlier one.
func (t *Table) Seen(s *Sighting) {
	executable := s.Executable
	if executable == "" {
		executable = s.Comm
	}
	// A probe can report a process again and again. Do not read /proc each time.
	if known, ok := t.processes.get(s.Key); ok && known.process != nil && !known.pending &&
		known.cgroup == s.Cgroup && known.process.Executable == executable {
		return
	}
	container, final := t.containerOf(s.Key, s.Cgroup)
	t.remember(s.Key, entry{cgroup: s.Cgroup, pending: !final}, executable, container)
}

// Process returns what is known of a process, or nil. It searches /proc once for a
// process without a sighting. The usual case allocates nothing.
func (t *Table) Process(key Key) *Process {
	known, ok := t.processes.get(key)
	switch {
	case !ok && key.PID != 0:
		return t.lookUp(key)
	case known.pending:
		return t.resolvePending(key, known)
	default:
		return known.process
	}
}

func (t *Table) lookUp(key Key) *Process {
	executable, alive := t.proc.executable(key)
	if !alive {
		// It will not be there next time either.
		t.processes.put(key, entry{})
		return nil
	}
	container, _ := t.containerOf(key, 0)
	return t.remember(key, entry{}, executable, container)
}

func (t *Table) resolvePending(key Key, known entry) *Process {
	container, final := t.cgroups.find(known.cgroup)
	if !final {
		return known.process
	}
	known.pending = false
	return t.remember(key, known, known.process.Executable, container)
}

func (t *Table) remember(key Key, known entry, executable string, container Container) *Process {
	known.process = &Process{
		Key: key,
		Workload: t.workloads.pointer(Workload{
			// A file's name can have any byte, an attribute cannot.
			Executable: strings.ToValidUTF8(executable, "\uFFFD"),
			Container:  container,
		}),
	}
	t.processes.put(key, known)
	return known.process
}

// containerOf tries the cheapest and most reliable source first: a cgroup that was
// resolved before, the process's own files, the cgroup mounts. It returns false if the
// mounts could not be read yet.
func (t *Table) containerOf(key Key, id uint64) (Container, bool) {
	if !t.container {
		return Container{}, true
	}
	if container, ok := t.cgroups.cached(id); ok {
		return container, true
	}
	m, alive := t.proc.cgroups(key)
	if !alive {
		return t.cgroups.find(id)
	}
	t.cgroups.judge(&m)
	t.cgroups.learn(id, &m)
	if m.Container != (Container{}) || m.cgroup() != "" {
		return m.Container, true
	}
	// Only roots: of the host, of this process's cgroup namespace, or of a process
	// that is being reaped. The mounts can show more.
	return t.cgroups.find(id)
}
