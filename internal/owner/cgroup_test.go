// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"fmt"
	"path"
	"testing"
	"time"
)

const (
	mountUnified = "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	mountHybrid  = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n" +
		"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n" +
		"39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n"
	mountPids = "39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n"
)

// TestCgroupOfGoneProcess resolves the cgroup of processes that were never alive in
// /proc.
func TestCgroupOfGoneProcess(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		mounts string
		// dirs are the directories in the order of their ids, from 1; want belongs to
		// the last of them.
		dirs []string
		// files tell where no mountinfo is.
		files []string
		want  Container
	}{
		{
			name:   "version 2",
			mounts: mountUnified,
			dirs:   []string{"sys/fs/cgroup", "sys/fs/cgroup/system.slice", "sys/fs/cgroup/system.slice/docker-" + id1 + ".scope"},
			want:   Container{ID: id1},
		},
		{
			name:   "inside of a container",
			mounts: mountUnified,
			dirs:   []string{"sys/fs/cgroup/docker/" + id1 + "/system.slice/nginx.service"},
			want:   Container{ID: id1},
		},
		{
			name:   "on the host",
			mounts: mountUnified,
			dirs:   []string{"sys/fs/cgroup/system.slice/nginx.service"},
		},
		{
			name:   "the root",
			mounts: mountUnified,
			dirs:   []string{"sys/fs/cgroup"},
		},
		{
			name:   "hybrid, unified",
			mounts: mountHybrid,
			dirs:   []string{"sys/fs/cgroup/unified/docker/" + id1},
			want:   Container{ID: id1},
		},
		{
			name:   "hybrid, memory",
			mounts: mountHybrid,
			dirs:   []string{"sys/fs/cgroup/memory/docker/" + id1},
			want:   Container{ID: id1},
		},
		{
			name:   "version 1 without memory",
			mounts: mountPids,
			dirs:   []string{"sys/fs/cgroup/pids/docker/" + id1},
			want:   Container{ID: id1},
		},
		{
			name:   "the mount shows a part",
			mounts: "41 31 0:38 /kubepods/pod" + uid + " /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
			dirs:   []string{"sys/fs/cgroup/" + id1},
			want:   Container{ID: id1, PodUID: uid},
		},
		{
			name:   "the mount's root lies outside of the namespace",
			mounts: "41 31 0:38 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
			dirs:   []string{"sys/fs/cgroup/docker/" + id1},
			want:   Container{ID: id1},
		},
		{
			name:   "the mount's root is the container",
			mounts: "41 31 0:38 /docker/" + id1 + " /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
			dirs:   []string{"sys/fs/cgroup"},
			want:   Container{ID: id1},
		},
		{
			name: "of two mounts the one that shows more",
			mounts: "41 31 0:38 /docker/" + id2 + " /mnt rw - cgroup2 cgroup2 rw\n" +
				"42 31 0:38 / /host\\040root/cgroup rw - cgroup2 cgroup2 rw\n" +
				"43 31 0:38 /docker/" + id2 + " /mnt2 rw - cgroup2 cgroup2 rw\n",
			dirs: []string{"host root/cgroup/docker/" + id1},
			want: Container{ID: id1},
		},
		{
			name:  "usual place, version 2",
			files: []string{"sys/fs/cgroup/cgroup.controllers"},
			dirs:  []string{"sys/fs/cgroup/docker/" + id1},
			want:  Container{ID: id1},
		},
		{
			name:   "usual place, hybrid, mountinfo of no use",
			mounts: "garbage\n1 2 - \n",
			files:  []string{"sys/fs/cgroup/unified/cgroup.controllers", "sys/fs/cgroup/memory/cgroup.procs"},
			dirs:   []string{"sys/fs/cgroup/memory/docker/" + id1},
			want:   Container{ID: id1},
		},
		{name: "no mounts", dirs: []string{"sys/fs/cgroup/docker/" + id1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHost()
			if test.mounts != "" {
				h.file("proc/self/mountinfo", test.mounts)
			}
			for _, name := range test.files {
				h.file(name, "")
			}
			var id uint64
			for _, name := range test.dirs {
				id = h.mkdir(name)
			}
			table := h.table(Options{Container: true})
			table.Seen(&Sighting{Key: nginx, Executable: "nginx", Cgroup: id})
			if got := table.Process(nginx).Container; got != test.want {
				t.Errorf("container = %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestWalksAreFewAndFar(t *testing.T) {
	t.Parallel()
	h := newHost()
	h.file("proc/self/mountinfo", mountUnified)
	first := h.mkdir("sys/fs/cgroup/docker/" + id1)
	table := h.table(Options{Container: true})
	see := func(pid uint32, cgroup uint64) func() Container {
		key := Key{PID: pid, Start: 1}
		table.Seen(&Sighting{Key: key, Executable: "x", Cgroup: cgroup})
		return func() Container { return table.Process(key).Container }
	}
	see(1, first)
	walk := h.reads["directory"]
	if walk == 0 {
		t.Fatal("no walk")
	}

	// A container that is younger than the walk has to wait for the next.
	second := h.mkdir("sys/fs/cgroup/docker/" + id2)
	younger := see(2, second)
	if got := younger(); got != (Container{}) || h.reads["directory"] != walk {
		t.Errorf("container = %+v after %d directories, want none yet after %d", got, h.reads["directory"], walk)
	}
	h.time = h.time.Add(walkInterval)
	if got := younger().ID; got != id2 {
		t.Errorf("container = %q, want %q", got, id2)
	}

	// What was not there then never will be.
	walk = h.reads["directory"]
	h.time = h.time.Add(walkInterval)
	gone := see(3, 999)
	for range 5 {
		h.time = h.time.Add(time.Hour)
		if got := gone(); got != (Container{}) {
			t.Errorf("container = %+v, want none", got)
		}
	}
	see(4, 999)
	if got := h.reads["directory"]; got > 2*walk {
		t.Errorf("an id that is nowhere was looked for more than once: %d directories, then %d", walk, got)
	}
}

func TestSlowWalksAreRarer(t *testing.T) {
	t.Parallel()
	h := newHost()
	h.file("proc/self/mountinfo", mountUnified)
	table := h.table(Options{Container: true})
	clock := h.now
	table.cgroups.now = func() time.Time {
		h.time = h.time.Add(time.Second) // each walk takes as long
		return clock()
	}
	table.cgroups.find(1)
	want := h.time.Add(walkShare * time.Second)
	if !table.cgroups.nextWalk.Equal(want) {
		t.Errorf("next walk in %v, want in %v", table.cgroups.nextWalk.Sub(h.time), want.Sub(h.time))
	}
}

func TestWalkIsBounded(t *testing.T) {
	t.Parallel()
	h := newHost()
	for i := range 10 {
		h.mkdir(fmt.Sprintf("top/%d", i))
		h.mkdir(fmt.Sprintf("top/%d/deep", i))
	}
	table := h.table(Options{Container: true})
	if left := table.cgroups.walkHierarchy(hierarchy{mount: "top", root: "/"}, 12); left != 0 {
		t.Errorf("%d directories of the budget are left, want 0", left)
	}
	for i := range 10 {
		if _, ok := table.cgroups.cached(uint64(2*i + 1)); !ok {
			t.Errorf("top/%d was not reached: the walk is not breadth first", i)
		}
	}
	if n := len(table.cgroups.known.young) + len(table.cgroups.known.old); n != 12 {
		t.Errorf("%d cgroups are known, want 12", n)
	}
}

// TestAmbiguousCgroups are ids that must not stand for a container.
func TestAmbiguousCgroups(t *testing.T) {
	t.Parallel()
	other := Key{PID: 43, Start: nginx.Start}
	third := Key{PID: 44, Start: nginx.Start}

	t.Run("containers that share their runtime's directory in version 2", func(t *testing.T) {
		t.Parallel()
		h := newHost()
		h.start(nginx, "containerd", "", "4:memory:/system.slice/containerd.service\n0::/system.slice/containerd.service\n")
		h.start(other, "nginx", "", "4:memory:/docker/"+id1+"\n0::/system.slice/containerd.service\n")
		table := h.table(Options{Container: true})
		for _, key := range []Key{nginx, other, third} {
			table.Seen(&Sighting{Key: key, Executable: "x", Cgroup: 9})
		}
		if got := table.Process(nginx).Container; got != (Container{}) {
			t.Errorf("the runtime is in %+v, want none", got)
		}
		if got := table.Process(other).Container.ID; got != id1 {
			t.Errorf("the container is in %q, want %q", got, id1)
		}
		if got := table.Process(third).Container; got != (Container{}) {
			t.Errorf("a process that is gone is in %+v, want none", got)
		}
	})
	t.Run("one number in two hierarchies", func(t *testing.T) {
		t.Parallel()
		h := newHost()
		h.file("proc/self/mountinfo", mountHybrid)
		h.mkdirAs("sys/fs/cgroup/unified/docker/"+id1, 50)
		h.mkdirAs("sys/fs/cgroup/memory/docker/"+id2, 50)
		table := h.table(Options{Container: true})
		table.Seen(&Sighting{Key: nginx, Executable: "x", Cgroup: 50})
		if got := table.Process(nginx).Container; got != (Container{}) {
			t.Errorf("container = %+v, want none", got)
		}
	})
}

// TestDelegatedCgroups: who owns a directory may give those in it any name.
func TestDelegatedCgroups(t *testing.T) {
	t.Parallel()
	const user = 1000
	for _, test := range []struct {
		name   string
		mounts string
		// dirs have their path below the mount; the last one is the process's.
		mount string
		dirs  []string
		// given is the user's.
		given      string
		membership string
		want       Container
	}{
		{
			name: "root's", mounts: mountUnified, mount: "sys/fs/cgroup",
			dirs:       []string{"/", "/docker", "/docker/" + id1},
			membership: "0::%s\n",
			want:       Container{ID: id1},
		},
		{
			name: "the tree", mounts: mountUnified, mount: "sys/fs/cgroup",
			dirs:       []string{"/", "/mine", "/mine/docker", "/mine/docker/" + id1},
			given:      "/mine",
			membership: "0::%s\n",
			want:       Container{ID: id1, Delegated: true},
		},
		{
			name: "the parent", mounts: mountUnified, mount: "sys/fs/cgroup",
			dirs:       []string{"/", "/mine", "/mine/docker-" + id1 + ".scope"},
			given:      "/mine",
			membership: "0::%s\n",
			want:       Container{ID: id1, Delegated: true},
		},
		{
			name: "a pod", mounts: mountUnified, mount: "sys/fs/cgroup",
			dirs:       []string{"/", "/kubepods", "/kubepods/pod" + uid},
			given:      "/kubepods",
			membership: "0::%s\n",
			want:       Container{PodUID: uid, Delegated: true},
		},
		{
			name: "the container itself, as of unprivileged LXC", mounts: mountUnified, mount: "sys/fs/cgroup",
			dirs:       []string{"/", "/lxc.payload.web", "/lxc.payload.web/init.scope"},
			given:      "/lxc.payload.web",
			membership: "0::%s\n",
			want:       Container{ID: "web"},
		},
		{
			name: "a container inside of that", mounts: mountUnified, mount: "sys/fs/cgroup",
			dirs:       []string{"/", "/lxc.payload.web", "/lxc.payload.web/docker", "/lxc.payload.web/docker/" + id1},
			given:      "/lxc.payload.web",
			membership: "0::%s\n",
			want:       Container{ID: id1, Delegated: true},
		},
		{
			name: "version 1", mounts: mountHybrid, mount: "sys/fs/cgroup/memory",
			dirs:       []string{"/", "/mine", "/mine/" + id1},
			given:      "/mine",
			membership: "4:memory:%s\n0::/\n",
			want:       Container{ID: id1, Delegated: true},
		},
		{
			name: "version 1 without memory", mounts: mountPids, mount: "sys/fs/cgroup/pids",
			dirs:       []string{"/", "/mine", "/mine/" + id1},
			given:      "/mine",
			membership: "4:pids:%s\n",
			want:       Container{ID: id1, Delegated: true},
		},
		{
			name:   "the mount shows a part",
			mounts: "41 31 0:38 /mine /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", mount: "sys/fs/cgroup",
			dirs:       []string{"/", "/" + id1},
			given:      "/",
			membership: "0::/mine%s\n",
			want:       Container{ID: id1, Delegated: true},
		},
	} {
		for _, alive := range []bool{true, false} {
			t.Run(fmt.Sprint(test.name, ", alive ", alive), func(t *testing.T) {
				t.Parallel()
				h := newHost()
				h.file("proc/self/mountinfo", test.mounts)
				var id uint64
				for _, dir := range test.dirs {
					id = h.mkdir(path.Join(test.mount, dir))
				}
				if test.given != "" {
					h.give(path.Join(test.mount, test.given), user)
				}
				if alive {
					h.start(nginx, "nginx", "", fmt.Sprintf(test.membership, test.dirs[len(test.dirs)-1]))
				}
				table := h.table(Options{Container: true})
				other := Key{PID: 43, Start: nginx.Start}
				for _, key := range []Key{nginx, other} {
					table.Seen(&Sighting{Key: key, Executable: "x", Cgroup: id})
					if got := table.Process(key).Container; got != test.want {
						t.Errorf("container of %d = %+v, want %+v", key.PID, got, test.want)
					}
				}
			})
		}
	}
}
