// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"io/fs"
	"path"
	"strings"
	"time"
)

const (
	// maxWalk bounds the directories that one walk reads.
	maxWalk = 32768
	// maxCgroups bounds the cache. A walk fits into half of it, so that it never
	// drops its own results.
	maxCgroups = 2 * maxWalk
	// walkInterval is the least time between two walks. walkShare times the
	// duration of a walk must pass before the next.
	walkInterval = time.Second
	walkShare    = 20
)

// cgroups resolves cgroup ids to containers, even after the process has ended. An id is
// the inode number of the cgroup's directory.
type cgroups struct {
	fs    fs.FS
	now   func() time.Time
	inode func(fs.FileInfo) uint64
	owner func(fs.FileInfo) uint32

	known       *recent[uint64, cgroup]
	hierarchies []hierarchy
	nextWalk    time.Time
}

// cgroup is what is known of an id.
type cgroup struct {
	Container
	state cgroupState
}

type cgroupState uint8

const (
	// missing ids were in no mounted hierarchy.
	missing cgroupState = iota
	// ambiguous ids do not identify a container, because hierarchies number their
	// directories independently. With version 1, a container can have directories of
	// its own in some hierarchies and share its parent's in others.
	ambiguous
	resolved
)

func newCgroups(fsys fs.FS, now func() time.Time) *cgroups {
	return &cgroups{fs: fsys, now: now, inode: inode, owner: owningUser, known: newRecent[uint64, cgroup](maxCgroups)}
}

// cached returns the container of an id that was resolved before.
func (c *cgroups) cached(id uint64) (Container, bool) {
	known, _ := c.known.get(id)
	return known.Container, known.state == resolved
}

// find resolves an id by walking the mounted hierarchies. It returns false if that was
// not possible now but can be later.
func (c *cgroups) find(id uint64) (Container, bool) {
	if known, ok := c.known.get(id); ok || id == 0 {
		return known.Container, true
	}
	began := c.now()
	if began.Before(c.nextWalk) {
		return Container{}, false
	}
	c.walk()
	ended := c.now()
	c.nextWalk = ended.Add(max(walkInterval, walkShare*ended.Sub(began)))
	known, ok := c.known.get(id)
	if !ok {
		c.known.put(id, cgroup{state: missing})
	}
	return known.Container, true
}

// learn remembers the id of a process whose /proc/PID/cgroup was read.
func (c *cgroups) learn(id uint64, m *membership) {
	dir := m.cgroup()
	if id == 0 || dir == "" {
		return
	}
	found := containerOf(dir)
	if found.ID == m.ID && found.PodUID == m.PodUID {
		found.Delegated = m.Delegated
	}
	if found != m.Container || m.legacy && found == (Container{}) {
		c.mark(id)
		return
	}
	c.store(id, found)
}

func (c *cgroups) store(id uint64, found Container) {
	known, ok := c.known.get(id)
	switch {
	case !ok || known.state == missing:
		found.ID, found.PodUID = strings.Clone(found.ID), strings.Clone(found.PodUID)
		c.known.put(id, cgroup{Container: found, state: resolved})
	case known.state == resolved && known.Container != found:
		c.mark(id)
	}
}

func (c *cgroups) mark(id uint64) { c.known.put(id, cgroup{state: ambiguous}) }

// judge sets Delegated if the mounts show that a user other than root can have named
// the container. Without a mount that shows it, Delegated stays as the path says.
func (c *cgroups) judge(m *membership) {
	if m.Delegated || m.Container == (Container{}) {
		return
	}
	for _, h := range c.mounts() {
		dir := h.path(m)
		found, at := locate(dir)
		if found == m.Container && c.delegated(&h, dir[:at], make(map[string]bool)) {
			m.Delegated = true
			return
		}
	}
}

// delegated reports whether a user other than root may create cgroups in dir. Such a
// directory, or one above it, belongs to another user or is writable by everybody.
func (c *cgroups) delegated(h *hierarchy, dir string, known map[string]bool) bool {
	at, ok := h.within(strings.TrimSuffix(dir, "/"))
	if !ok {
		return false
	}
	if answer, ok := known[at]; ok {
		return answer
	}
	answer := false
	if info, err := fs.Stat(c.fs, at); err == nil {
		answer = c.owner(info) != 0 || info.Mode().Perm()&0o002 != 0
	}
	if parent := strings.LastIndexByte(strings.TrimSuffix(dir, "/"), '/'); !answer && parent >= 0 {
		answer = c.delegated(h, dir[:parent], known)
	}
	known[at] = answer
	return answer
}

func (c *cgroups) mounts() []hierarchy {
	if len(c.hierarchies) == 0 {
		c.hierarchies = hierarchies(c.fs)
	}
	return c.hierarchies
}

func (c *cgroups) walk() {
	budget := maxWalk
	for _, h := range c.mounts() {
		budget = c.walkHierarchy(h, budget)
	}
}

// walkHierarchy walks breadth first, so that a small budget loses only the deepest
// cgroups. It skips directories that vanish meanwhile.
func (c *cgroups) walkHierarchy(h hierarchy, budget int) int {
	w := walk{cgroups: c, hierarchy: h, delegated: make(map[string]bool)}
	if info, err := fs.Stat(c.fs, h.mount); err == nil {
		w.visit(h.root, info)
	}
	queue := []string{"."}
	for ; len(queue) > 0; queue = queue[1:] {
		// Entries that were read before an error still count.
		entries, _ := fs.ReadDir(c.fs, path.Join(h.mount, queue[0]))
		for _, entry := range entries {
			if !entry.IsDir() {
				continue
			}
			if budget == 0 {
				return 0
			}
			budget--
			dir := path.Join(queue[0], entry.Name())
			queue = append(queue, dir)
			if info, err := entry.Info(); err == nil {
				// No Clean here: the root may begin with "/..".
				w.visit(strings.TrimSuffix(h.root, "/")+"/"+dir, info)
			}
		}
	}
	return budget
}

// walk is one walk through a hierarchy. It knows which directories are delegated.
type walk struct {
	*cgroups
	hierarchy
	delegated map[string]bool
}

func (w *walk) visit(dir string, info fs.FileInfo) {
	id := w.inode(info)
	if id == 0 {
		return
	}
	found, at := locate(dir)
	if found == (Container{}) {
		if w.partial {
			w.mark(id)
			return
		}
	} else if !found.Delegated {
		found.Delegated = w.cgroups.delegated(&w.hierarchy, dir[:at], w.delegated)
	}
	w.store(id, found)
}
