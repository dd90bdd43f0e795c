// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var nginx = Key{PID: 42, Start: 1234567891234}

func TestTableProcess(t *testing.T) {
	t.Parallel()
	const inContainer = "0::/docker/" + id1 + "\n"
	for _, test := range []struct {
		name      string
		start     Key // the process in /proc
		comm, exe string
		cgroup    string
		sighting  *Sighting
		options   Options
		want      *Workload
	}{
		{name: "unknown"},
		{
			name:  "never sighted",
			start: nginx, comm: "nginx", exe: "/usr/sbin/nginx", cgroup: inContainer,
			options: Options{Container: true},
			want:    &Workload{"nginx", Container{ID: id1}},
		},
		{
			name:  "never sighted, containers off",
			start: nginx, comm: "nginx", exe: "/usr/sbin/nginx", cgroup: inContainer,
			want: &Workload{Executable: "nginx"},
		},
		{
			name:  "executable replaced on disk",
			start: nginx, comm: "nginx", exe: "/usr/sbin/nginx (deleted)",
			want: &Workload{Executable: "nginx"},
		},
		{
			name:  "executable's name longer than the kernel side takes",
			start: nginx, exe: "/opt/" + strings.Repeat("x", 100),
			want: &Workload{Executable: strings.Repeat("x", maxExecutable)},
		},
		{
			name:  "no right to read the executable",
			start: nginx, comm: "nginx",
			want: &Workload{Executable: "nginx"},
		},
		{
			name:  "a tick earlier",
			start: Key{PID: 42, Start: nginx.Start - tick}, comm: "nginx", exe: "/nginx",
			want: &Workload{Executable: "nginx"},
		},
		{
			name:  "a tick later",
			start: Key{PID: 42, Start: nginx.Start + tick}, comm: "nginx", exe: "/nginx",
			want: &Workload{Executable: "nginx"},
		},
		{
			name:  "pid reused",
			start: Key{PID: 42, Start: nginx.Start + 2*tick}, comm: "sh", exe: "/bin/sh",
		},
		{
			name:     "sighted and gone",
			sighting: &Sighting{Key: nginx, Executable: "nginx", Comm: "worker"},
			options:  Options{Container: true},
			want:     &Workload{Executable: "nginx"},
		},
		{
			name:     "sighted without executable",
			sighting: &Sighting{Key: nginx, Comm: "worker"},
			want:     &Workload{Executable: "worker"},
		},
		{
			name:  "sighted and alive",
			start: nginx, comm: "x", exe: "/x", cgroup: inContainer,
			sighting: &Sighting{Key: nginx, Executable: "nginx"},
			options:  Options{Container: true},
			want:     &Workload{"nginx", Container{ID: id1}},
		},
		{
			name:  "sighted, pid reused since",
			start: Key{PID: 42, Start: nginx.Start + 5*tick}, comm: "sh", exe: "/bin/sh", cgroup: inContainer,
			sighting: &Sighting{Key: nginx, Executable: "nginx"},
			options:  Options{Container: true},
			want:     &Workload{Executable: "nginx"},
		},
		{
			name:     "not UTF-8",
			sighting: &Sighting{Key: nginx, Executable: "a\xffb"},
			want:     &Workload{Executable: "a\uFFFDb"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHost()
			if test.start.PID != 0 {
				h.start(test.start, test.comm, test.exe, test.cgroup)
			}
			table := h.table(test.options)
			if test.sighting != nil {
				table.Seen(test.sighting)
			}
			got := table.Process(nginx)
			switch {
			case test.want == nil && got == nil:
			case test.want == nil || got == nil:
				t.Errorf("got %+v, want %+v", got, test.want)
			case got.Key != nginx || *got.Workload != *test.want:
				t.Errorf("got %+v %+v, want %+v", got.Key, *got.Workload, *test.want)
			}
		})
	}
}

// TestTableInATimeNamespace: /proc shows start times by our clock, the kernel side by the
// initial time namespace's.
func TestTableInATimeNamespace(t *testing.T) {
	t.Parallel()
	const day = 86_400_000_000_000
	h := newHost()
	for _, link := range []string{"time", "time_for_children"} {
		h.MapFS["proc/self/ns/"+link] = &fstest.MapFile{Data: []byte("time:[4026532177]"), Mode: fs.ModeSymlink}
	}
	h.file("proc/self/timens_offsets", "monotonic 0 0\nboottime 86400 0\n")
	h.start(Key{PID: nginx.PID, Start: nginx.Start + day}, "nginx", "/usr/sbin/nginx", "0::/docker/"+id1+"\n")
	table := h.table(Options{Container: true})
	if got := table.Process(nginx); got == nil || got.Executable != "nginx" || got.Container.ID != id1 {
		t.Errorf("got %+v, want nginx in %s", got, id1)
	}
	if got := table.Process(Key{PID: nginx.PID, Start: nginx.Start + day}); got != nil {
		t.Errorf("got %+v of a process that started a day later", got)
	}
}

func TestTableAsksProcOnce(t *testing.T) {
	t.Parallel()
	h := newHost()
	table := h.table(Options{Container: true})
	for range 3 {
		if got := table.Process(nginx); got != nil {
			t.Fatalf("got %+v of a process that is not there", got)
		}
	}
	if h.reads["exe"] != 1 {
		t.Errorf("/proc/PID/exe was read %d times, want once", h.reads["exe"])
	}
	// The kernel side knows better than a failed look-up.
	table.Seen(&Sighting{Key: nginx, Executable: "nginx"})
	if got := table.Process(nginx); got == nil || got.Executable != "nginx" {
		t.Errorf("got %+v after the sighting, want nginx", got)
	}
	if table.Process(Key{}) != nil {
		t.Error("a process without pid is known")
	}
}

func TestTableSeenAgain(t *testing.T) {
	t.Parallel()
	h := newHost()
	h.start(nginx, "sh", "/bin/sh", "0::/docker/"+id1+"\n")
	table := h.table(Options{Container: true})
	for range 3 {
		table.Seen(&Sighting{Key: nginx, Executable: "sh"})
	}
	if h.reads["cgroup"] != 1 {
		t.Errorf("/proc/PID/cgroup was read %d times, want once", h.reads["cgroup"])
	}
	before := table.Process(nginx)
	table.Seen(&Sighting{Key: nginx, Executable: "nginx"}) // exec
	if got := table.Process(nginx); got.Executable != "nginx" || before.Executable != "sh" {
		t.Errorf("executable %q before exec, %q after", before.Executable, got.Executable)
	}
}

func TestTableRemembersCgroupsOfLivingProcesses(t *testing.T) {
	t.Parallel()
	h := newHost()
	h.start(nginx, "nginx", "/usr/sbin/nginx", "0::/docker/"+id1+"\n")
	table := h.table(Options{Container: true})
	table.Seen(&Sighting{Key: nginx, Executable: "nginx", Cgroup: 77})
	h.end(nginx)

	worker := Key{PID: 43, Start: nginx.Start + 1000}
	table.Seen(&Sighting{Key: worker, Executable: "nginx", Cgroup: 77})
	got := table.Process(worker)
	if got.Container.ID != id1 {
		t.Errorf("container = %+v, want %s", got.Container, id1)
	}
	if got.Workload != table.Process(nginx).Workload {
		t.Error("one workload has two pointers")
	}
	if h.reads["directory"] != 0 {
		t.Error("the cgroup mounts were walked")
	}
}

func TestTableWorkloadPointersOutliveTheirProcesses(t *testing.T) {
	t.Parallel()
	h := newHost()
	table := h.table(Options{MaxProcesses: 4})
	see := func(pid uint32, executable string) *Workload {
		key := Key{PID: pid, Start: uint64(pid)}
		table.Seen(&Sighting{Key: key, Executable: executable})
		return table.Process(key).Workload
	}
	held := see(1, "held")
	for pid := uint32(2); pid < 1000; pid++ {
		see(pid, fmt.Sprintf("program-%d", pid))
	}
	if n := len(table.processes.young) + len(table.processes.old); n > 4 {
		t.Errorf("%d processes are remembered, want at most 4", n)
	}
	runtime.GC()
	if see(1000, "held") != held {
		t.Error("a workload that is still in use got a second pointer")
	}
	table.workloads.sweep()
	if n := len(table.workloads.workloads); n > 5 {
		t.Errorf("%d workloads are remembered, want at most 4 of processes and the held one", n)
	}
	runtime.KeepAlive(held)
}

func TestTableKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	table := newHost().table(Options{MaxProcesses: 10})
	table.Seen(&Sighting{Key: nginx, Executable: "nginx"})
	for pid := range uint32(1000) {
		table.Seen(&Sighting{Key: Key{PID: 100 + pid, Start: 1}, Executable: "cgi"})
		if got := table.Process(nginx); got == nil {
			t.Fatalf("dropped after %d others, though in use", pid)
		}
	}
}

func TestTableWithoutFiles(t *testing.T) {
	t.Parallel()
	table := NewTable(Options{FS: fstest.MapFS{}, Container: true})
	table.Seen(&Sighting{Key: nginx, Executable: "nginx", Cgroup: 5})
	if got := table.Process(nginx); got.Executable != "nginx" || got.Container != (Container{}) {
		t.Errorf("got %+v", *got.Workload)
	}
}

func TestTableProcessDoesNotAllocate(t *testing.T) {
	h := newHost()
	table := h.table(Options{Container: true})
	table.Seen(&Sighting{Key: nginx, Executable: "nginx", Cgroup: 5})
	unknown := Key{PID: 7, Start: 7}
	table.Process(unknown)
	h.time = h.time.Add(time.Hour)
	table.Process(nginx)
	if allocated := testing.AllocsPerRun(100, func() { table.Process(nginx); table.Process(unknown) }); allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}

func BenchmarkTableProcess(b *testing.B) {
	table := newHost().table(Options{})
	for pid := range uint32(1000) {
		table.Seen(&Sighting{Key: Key{PID: pid, Start: 1}, Executable: "nginx"})
	}
	key := Key{PID: 500, Start: 1}
	b.ReportAllocs()
	for b.Loop() {
		if table.Process(key) == nil {
			b.Fatal("unknown")
		}
	}
}

// BenchmarkTableSeen is a forking server: each process is new, its cgroup known.
func BenchmarkTableSeen(b *testing.B) {
	h := newHost()
	h.start(nginx, "nginx", "/usr/sbin/nginx", "0::/docker/"+id1+"\n")
	table := h.table(Options{Container: true})
	sighting := Sighting{Key: nginx, Executable: "cgi", Cgroup: 77}
	b.ReportAllocs()
	for b.Loop() {
		sighting.Start++
		table.Seen(&sighting)
	}
}
