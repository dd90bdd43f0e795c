// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"fmt"
	"io/fs"
	"path"
	"testing/fstest"
	"time"
)

// host is a made-up file system with processes and cgroups. It counts what is read.
type host struct {
	fstest.MapFS
	time  time.Time
	reads map[string]int
	inode uint64
}

func newHost() *host {
	return &host{
		MapFS: fstest.MapFS{},
		time:  time.Unix(1_700_000_000, 0),
		reads: map[string]int{},
	}
}

func (h *host) ReadFile(name string) ([]byte, error) {
	h.reads[path.Base(name)]++
	return h.MapFS.ReadFile(name)
}

func (h *host) ReadLink(name string) (string, error) {
	h.reads[path.Base(name)]++
	return h.MapFS.ReadLink(name)
}

func (h *host) ReadDir(name string) ([]fs.DirEntry, error) {
	h.reads["directory"]++
	return h.MapFS.ReadDir(name)
}

func (h *host) now() time.Time { return h.time }

// table makes a table that reads this host.
func (h *host) table(options Options) *Table {
	options.FS, options.Now = h, h.now
	t := NewTable(options)
	t.cgroups.inode = func(info fs.FileInfo) uint64 {
		of, _ := info.Sys().(directory)
		return of.inode
	}
	t.cgroups.owner = func(info fs.FileInfo) uint32 {
		of, _ := info.Sys().(directory)
		return of.user
	}
	return t
}

// start adds a process that started key.Start nanoseconds after boot.
func (h *host) start(key Key, comm, exe, cgroup string) {
	dir := fmt.Sprintf("proc/%d/", key.PID)
	h.file(dir+"stat", fmt.Sprintf("%d (%s) S 1 42 42 0 -1 4194624 54 0 0 0 0 0 0 0 20 0 1 0 %d 11444224 0\n", key.PID, comm, key.Start/tick))
	h.file(dir+"cgroup", cgroup)
	if exe != "" {
		h.MapFS[dir+"exe"] = &fstest.MapFile{Data: []byte(exe), Mode: fs.ModeSymlink | 0o777}
	}
}

// end removes a process.
func (h *host) end(key Key) {
	for _, file := range []string{"stat", "cgroup", "exe"} {
		delete(h.MapFS, fmt.Sprintf("proc/%d/%s", key.PID, file))
	}
}

func (h *host) file(name, data string) {
	h.MapFS[name] = &fstest.MapFile{Data: []byte(data), Mode: 0o444}
}

// mkdir adds a cgroup's directory and returns its id.
func (h *host) mkdir(name string) uint64 {
	h.inode++
	h.mkdirAs(name, h.inode)
	return h.inode
}

func (h *host) mkdirAs(name string, inode uint64) {
	h.MapFS[name] = &fstest.MapFile{Mode: fs.ModeDir | 0o555, Sys: directory{inode: inode}}
}

// directory is a cgroup in the file system.
type directory struct {
	inode uint64
	user  uint32
}

// give gives a cgroup to a user.
func (h *host) give(name string, user uint32) {
	of := h.MapFS[name]
	of.Sys = directory{of.Sys.(directory).inode, user}
}
