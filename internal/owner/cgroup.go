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

func newCgroups(fsys fs.FS, now func() time.Time, inode func(fs.FileInfo) uint64) *cgroups {
	return &cgroups{fs: fsys, now: now, inode: inode, known: newRecent[uint64, cgroup](maxCgroups)}
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

func (c *cgroups) walk() {
	if len(c.hierarchies) == 0 {
		c.hierarchies = hierarchies(c.fs)
	}
	budget := maxWalk
	for _, h := range c.hierarchies {
		budget = c.walkHierarchy(h, budget)
	}
}

// walkHierarchy goes breadth first, so that a budget which is too small costs the
// deepest cgroups. Directories that vanish meanwhile are passed over.
func (c *cgroups) walkHierarchy(h hierarchy, budget int) int {
	if info, err := fs.Stat(c.fs, h.mount); err == nil {
		c.visit(h, h.root, info)
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
				c.visit(h, h.root+"/"+dir, info)
			}
		}
	}
	return budget
}

func (c *cgroups) visit(h hierarchy, dir string, info fs.FileInfo) {
	id := c.inode(info)
	if id == 0 {
		return
	}
	found := containerOf(dir)
	if h.partial && found == (Container{}) {
		c.mark(id)
		return
	}
	c.store(id, found)
}
