// SPDX-License-Identifier: Apache-2.0

package owner

import "testing"

const containerd = "/kubepods.slice/kubepods-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice/cri-containerd-" + id1 + ".scope"

var memberships = []struct {
	name, data string
	want       Container
	// cgroup is the path whose id the kernel side reports.
	cgroup string
}{
	{
		name:   "version 2",
		data:   "0::" + containerd + "\n",
		want:   Container{ID: id1, PodUID: uid},
		cgroup: containerd,
	},
	{
		name:   "version 1",
		data:   "12:memory:/docker/" + id1 + "\n4:cpu,cpuacct:/docker/" + id1 + "\n3:pids:/docker/" + id1 + "\n1:name=systemd:/docker/" + id1 + "\n",
		want:   Container{ID: id1},
		cgroup: "/docker/" + id1,
	},
	{
		name:   "hybrid, no container in version 2",
		data:   "12:memory:/docker/" + id1 + "\n1:name=systemd:/docker/" + id1 + "\n0::/system.slice/containerd.service\n",
		want:   Container{ID: id1},
		cgroup: "/system.slice/containerd.service",
	},
	{
		name:   "hybrid, version 2 unused",
		data:   "5:pids:/docker/" + id1 + "\n4:memory:/\n0::/\n",
		want:   Container{ID: id1},
		cgroup: "/docker/" + id1,
	},
	{
		name:   "the hierarchy that knows the pod wins",
		data:   "12:memory:/docker/" + id1 + "\n3:pids:" + containerd + "\n",
		want:   Container{ID: id1, PodUID: uid},
		cgroup: "/docker/" + id1,
	},
	{
		name:   "colons in the path",
		data:   "12:memory:/kubepods-pod" + static + ".slice:cri-containerd:" + id1 + "\n",
		want:   Container{ID: id1, PodUID: static},
		cgroup: "/kubepods-pod" + static + ".slice:cri-containerd:" + id1,
	},
	{name: "roots", data: "3:memory:/\n0::/\n"},
	{name: "no newline at the end", data: "0::/docker/" + id1, want: Container{ID: id1}, cgroup: "/docker/" + id1},
	{name: "empty"},
	{name: "garbage", data: "\n::\n0:\n:::::\n\x00"},
}

func TestParseMembership(t *testing.T) {
	t.Parallel()
	for _, test := range memberships {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := parseMembership(test.data)
			if m.Container != test.want {
				t.Errorf("container = %+v, want %+v", m.Container, test.want)
			}
			if test.name != "garbage" && m.cgroup() != test.cgroup {
				t.Errorf("cgroup = %q, want %q", m.cgroup(), test.cgroup)
			}
		})
	}
}

var stats = []struct {
	name, data, comm string
	start            uint64
	ok               bool
}{
	{
		name: "usual",
		data: "42 (nginx) S 1 42 42 0 -1 4194624 54 0 0 0 0 0 0 0 20 0 1 0 123456 11444224 0 18446744073709551615\n",
		comm: "nginx", start: 123456, ok: true,
	},
	{
		name: "parentheses and spaces in the name",
		data: "42 (a) R 1 (b c) S 1 42 42 0 -1 4194624 54 0 0 0 0 0 0 0 20 0 1 0 7 11444224 0 0\n",
		comm: "a) R 1 (b c", start: 7, ok: true,
	},
	{name: "empty"},
	{name: "cut short", data: "42 (nginx) S 1 42 42 0 -1 4194624 54 0 0 0 0 0 0 0 20 0 1 0"},
	{name: "not a number", data: "42 (nginx) S 1 42 42 0 -1 4194624 54 0 0 0 0 0 0 0 20 0 1 0 x", comm: "nginx"},
	{name: "no name", data: "42 S 1 42 42 0 -1 4194624 54 0 0 0 0 0 0 0 20 0 1 0 7"},
	{name: "backwards", data: ")("},
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	for _, test := range stats {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			comm, start, ok := parseStat(test.data)
			if comm != test.comm || start != test.start || ok != test.ok {
				t.Errorf("got %q, %d, %v, want %q, %d, %v", comm, start, ok, test.comm, test.start, test.ok)
			}
		})
	}
}

func FuzzProcFiles(f *testing.F) {
	for _, test := range memberships {
		f.Add(test.data)
	}
	for _, test := range stats {
		f.Add(test.data)
	}
	f.Fuzz(func(_ *testing.T, data string) {
		m := parseMembership(data)
		m.cgroup()
		parseStat(data)
	})
}
