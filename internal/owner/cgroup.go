// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"io/fs"
	"path"
	"strings"
	"time"
)

const (
	// maxWalk bounds the directories that one walk looks at.
	maxWalk = 32768
	// maxCgroups bounds the cache; a walk fits into half of it, so that it never
	// drops what it has just found.
	maxCgroups = 2 * maxWalk
	// walkInterval is the least time between two walks, and walkShare how many times
	// its own duration a walk must be away from the next.
	walkInterval = time.Second
	walkShare    = 20
)

// cgroups resolves cgroup ids, which are the inode numbers of cgroup directories,
// to containers, also after the process that was seen there is gone.
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
	// ambiguous ids do not tell the container: hierarchies number their directories
	// independently, and with version 1 about, a container may live in some of them
	// and share its parent's directory in others.
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

// find resolves an id by walking the mounted hierarchies. It returns false when that
// was not possible now and may be later.
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

// judge sets Delegated where the mounts show that somebody else than root may have
// named the container. What no mount shows stays as its path says.
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

// delegated reports whether somebody else than root may make cgroups in dir: it, or one
// above it, is another user's or may be written by all.
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

// walkHierarchy goes breadth first, so that a budget which is too small costs the
// deepest cgroups. Directories that vanish meanwhile are passed over.
func (c *cgroups) walkHierarchy(h hierarchy, budget int) int {
	w := walk{cgroups: c, hierarchy: h, delegated: make(map[string]bool)}
	if info, err := fs.Stat(c.fs, h.mount); err == nil {
		w.visit(h.root, info)
	}
	queue := []string{"."}
	for ; len(queue) > 0; queue = queue[1:] {
		// What was read before an error still counts.
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

// walk is one through a hierarchy. It knows which directories are delegated.
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
