// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"strings"
	"testing"
)

const (
	id1 = "8c1e75bb325eb9c64571326952a6507132f1fc7eba7cd5b694422abe39fc7ed8"
	id2 = "aaefb9d8feed2d453b543f6d928cede7a4dbefa6a0ae7c9b990dd234c56e93b9"
	uid = "2fc932ce-fdcc-454b-97bd-aadfdeb4c340"
	// static is the uid of a static pod: a hash of its configuration.
	static = "36b6d6be73b1065af369b3985edafa09"
)

// Each path names the public source of its shape; the ids are exchanged.
var containerPaths = []struct {
	name, path string
	want       Container
}{
	{
		"docker, cgroupfs", // github.com/open-telemetry/opentelemetry-go/issues/3633
		"/docker/" + id1,
		Container{ID: id1},
	},
	{
		"docker, systemd", // github.com/neuvector/neuvector share/system/cgroup_test.go
		"/system.slice/docker-" + id1 + ".scope",
		Container{ID: id1},
	},
	{
		"docker with a parent of its own", // docs.docker.com/reference/cli/dockerd/#default-cgroup-parent
		"/batch.slice/docker-" + id1 + ".scope",
		Container{ID: id1},
	},
	{
		"docker, no parent at all", // github.com/neuvector/neuvector share/system/cgroup_test.go
		"/" + id1,
		Container{ID: id1},
	},
	{
		"kubernetes, cgroupfs", // github.com/sustainable-computing-io/kepler/pull/684
		"/kubepods/burstable/pod" + uid + "/" + id1,
		Container{ID: id1, PodUID: uid},
	},
	{
		"kubernetes, cgroupfs, guaranteed", // github.com/kubernetes/kubernetes/issues/72853
		"/kubepods/pod" + uid + "/" + id1,
		Container{ID: id1, PodUID: uid},
	},
	{
		"kubernetes, systemd, containerd", // github.com/kubernetes/kubernetes/pull/104039
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice/cri-containerd-" + id1 + ".scope",
		Container{ID: id1, PodUID: uid},
	},
	{
		"kubernetes, systemd, guaranteed", // github.com/tkestack/vcuda-controller/issues/19
		"/kubepods.slice/kubepods-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice/cri-containerd-" + id1 + ".scope",
		Container{ID: id1, PodUID: uid},
	},
	{
		"kubernetes, systemd, docker", // github.com/kinvolk/traceloop/pull/34
		"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice/docker-" + id1 + ".scope",
		Container{ID: id1, PodUID: uid},
	},
	{
		"kubernetes, static pod", // github.com/kubernetes/kubernetes/issues/67537
		"/kubepods/burstable/pod" + static + "/" + id1,
		Container{ID: id1, PodUID: static},
	},
	{
		"kubernetes, the pod's own cgroup", // github.com/kubernetes/kubernetes pkg/kubelet/cm/pod_container_manager_linux.go
		"/kubepods/besteffort/pod" + uid,
		Container{PodUID: uid},
	},
	{
		"CRI-O, systemd", // github.com/kinvolk/traceloop/pull/34
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice/crio-" + id1 + ".scope",
		Container{ID: id1, PodUID: uid},
	},
	{
		"CRI-O, cgroupfs", // github.com/cri-o/cri-o/pull/812
		"/kubepods/burstable/pod" + uid + "/crio-" + id1,
		Container{ID: id1, PodUID: uid},
	},
	{
		"CRI-O, conmon in the pod's slice", // github.com/opencontainers/runc/issues/4620
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice/crio-conmon-" + id1 + ".scope",
		Container{},
	},
	{
		"CRI-O, conmon", // github.com/aquasecurity/tracee/pull/5087
		"/system.slice/crio-conmon-" + id1 + ".scope",
		Container{},
	},
	{
		"containerd, namespace as parent", // github.com/containerd/containerd pkg/oci WithNamespaceCgroup
		"/default/" + id1,
		Container{ID: id1},
	},
	{
		"nerdctl, systemd", // github.com/falcosecurity/plugins/pull/1378
		"/system.slice/nerdctl-" + id1 + ".scope",
		Container{ID: id1},
	},
	{
		"containerd, systemd's form without systemd", // github.com/kubernetes/kubernetes/pull/104039
		"/kubepods-burstable-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice:cri-containerd:" + id1,
		Container{ID: id1, PodUID: uid},
	},
	{
		"containerd, the same below its service", // github.com/kubernetes/kubernetes/issues/106514
		"/system.slice/containerd.service/kubepods-burstable-pod" + static + ".slice:cri-containerd:" + id1,
		Container{ID: id1, PodUID: static},
	},
	{
		"podman", // github.com/containers/podman libpod/container.go, createUnitName
		"/machine.slice/libpod-" + id1 + ".scope",
		Container{ID: id1},
	},
	{
		"podman, crun's sub-cgroup", // github.com/containers/crun src/libcrun/cgroup-systemd.c
		"/machine.slice/libpod-" + id1 + ".scope/container",
		Container{ID: id1},
	},
	{
		"podman, rootless", // github.com/containers/podman/pull/4639
		"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id1 + ".scope",
		Container{ID: id1, Delegated: true},
	},
	{
		"podman, in its unit", // docs.podman.io/en/latest/markdown/podman-run.1.html, --cgroups=split
		"/system.slice/web.service/libpod-payload-" + id1,
		Container{ID: id1},
	},
	{
		"docker, rootless", // docs.docker.com/engine/security/rootless/tips
		"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + id1 + ".scope",
		Container{ID: id1, Delegated: true},
	},
	{
		"a user's systemd inside of a container", // its own units name nothing
		"/system.slice/docker-" + id1 + ".scope/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
		Container{ID: id1},
	},
	{
		"a user's container inside of a container",
		"/docker/" + id1 + "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id2 + ".scope/container",
		Container{ID: id2, Delegated: true},
	},
	{
		"a name that a user chose", // anybody with a user manager can make it
		"/user.slice/user-1000.slice/user@1000.service/kubepods/pod" + uid + "/" + id1,
		Container{ID: id1, PodUID: uid, Delegated: true},
	},
	{
		"LXC", // linuxcontainers.org/lxc/manpages/man5/lxc.container.conf.5.html, CONTROL GROUPS
		"/lxc/web",
		Container{ID: "web"},
	},
	{
		"LXC, a service inside",
		"/lxc/web-1/system.slice/nginx.service",
		Container{ID: "web-1"},
	},
	{
		"LXC of Proxmox", // pve.proxmox.com/wiki/Linux_Container
		"/lxc/101/ns/init.scope",
		Container{ID: "101"},
	},
	{
		"LXC 3.2", // github.com/lxc/lxc/pull/3002
		"/lxc.payload/web/init.scope",
		Container{ID: "web"},
	},
	{
		"LXC 4, LXD and Incus", // github.com/lxc/lxc src/lxc/cgroups/cgfsng.c
		"/lxc.payload.web.example/system.slice/ssh.service",
		Container{ID: "web.example"},
	},
	{
		"Incus, in a project", // linuxcontainers.org/incus/docs/main/explanation/projects
		"/lxc.payload.staging_web-1",
		Container{ID: "staging_web-1"},
	},
	{
		"LXC, unprivileged user", // github.com/lxc/lxc/issues/3221
		"/user.slice/user-1000.slice/user@1000.service/app.slice/lxc-web.scope/lxc.payload.web",
		Container{ID: "web", Delegated: true},
	},
	{
		"LXC's monitor", // github.com/lxc/lxc src/lxc/cgroups/cgfsng.c
		"/lxc.monitor.web",
		Container{},
	},
	{
		"LXC's monitor, 3.2",
		"/lxc.monitor/web",
		Container{},
	},
	{
		"docker in Incus",
		"/lxc.payload.web/system.slice/docker-" + id1 + ".scope",
		Container{ID: id1},
	},
	{
		"kubernetes in Incus",
		"/lxc.payload.node/kubepods/burstable/pod" + uid + "/" + id1,
		Container{ID: id1, PodUID: uid},
	},
	{
		"nspawn, from a shell", // man 1 systemd-nspawn, --slice
		"/machine.slice/machine-web.scope/payload/system.slice/nginx.service",
		Container{ID: "web"},
	},
	{
		"nspawn, escaped", // man 7 systemd.unit, systemd-escape
		`/machine.slice/machine-web\x2d1.example.scope/payload`,
		Container{ID: "web-1.example"},
	},
	{
		"nspawn, its service", // man 5 systemd.nspawn, systemd-nspawn@.service
		`/machine.slice/systemd-nspawn@db\x2d1.service/payload/init.scope`,
		Container{ID: "db-1"},
	},
	{
		"nspawn in version 1",
		"/machine.slice/machine-web.scope/init.scope",
		Container{ID: "web"},
	},
	{
		"nspawn itself", // github.com/systemd/systemd src/nspawn/nspawn-cgroup.c
		"/machine.slice/machine-web.scope/supervisor",
		Container{},
	},
	{
		"nspawn itself, in a container",
		"/docker/" + id1 + "/machine.slice/systemd-nspawn@web.service/supervisor",
		Container{ID: id1},
	},
	{
		"libvirt, LXC", // libvirt.org/cgroups.html
		`/machine.slice/machine-lxc\x2d4711\x2dweb.scope/libvirt`,
		Container{ID: "lxc-4711-web"},
	},
	{
		"libvirt, a virtual machine", // libvirt.org/cgroups.html
		`/machine.slice/machine-qemu\x2d1\x2dweb.scope/libvirt/emulator`,
		Container{},
	},
	{
		"Nomad", // developer.hashicorp.com/nomad/docs/concepts/cpu, cgroups v2
		"/nomad.slice/share.slice/70eb4ce5-a065-4401-6990-88ed1d2c3b4a.web-server.scope",
		Container{ID: "70eb4ce5-a065-4401-6990-88ed1d2c3b4a.web-server"},
	},
	{
		"Nomad, reserved cores",
		"/nomad.slice/reserve.slice/70eb4ce5-a065-4401-6990-88ed1d2c3b4a.web.scope",
		Container{ID: "70eb4ce5-a065-4401-6990-88ed1d2c3b4a.web"},
	},
	{
		"Nomad 1.6", // github.com/hashicorp/nomad client/lib/cgutil
		"/nomad.slice/70eb4ce5-a065-4401-6990-88ed1d2c3b4a.web.scope",
		Container{ID: "70eb4ce5-a065-4401-6990-88ed1d2c3b4a.web"},
	},
	{
		"Nomad, version 1",
		"/nomad/70eb4ce5-a065-4401-6990-88ed1d2c3b4a",
		Container{ID: "70eb4ce5-a065-4401-6990-88ed1d2c3b4a"},
	},
	{
		"Nomad, docker",
		"/nomad.slice/share.slice/docker-" + id1 + ".scope",
		Container{ID: id1},
	},
	{
		"BuildKit", // github.com/moby/buildkit executor/oci/spec.go
		"/buildkit/k2xw4k6v9n0q1r8s7t3u5y2z1",
		Container{ID: "k2xw4k6v9n0q1r8s7t3u5y2z1"},
	},
	{
		"BuildKit in dockerd", // github.com/moby/moby builder/builder-next/executor_linux.go
		"/docker/buildkit/k2xw4k6v9n0q1r8s7t3u5y2z1",
		Container{ID: "k2xw4k6v9n0q1r8s7t3u5y2z1"},
	},
	{
		"BuildKit in dockerd, systemd",
		"/system.slice/docker-k2xw4k6v9n0q1r8s7t3u5y2z1.scope",
		Container{ID: "k2xw4k6v9n0q1r8s7t3u5y2z1"},
	},
	{
		"BuildKit in a container",
		"/docker/" + id1 + "/buildkit/k2xw4k6v9n0q1r8s7t3u5y2z1",
		Container{ID: "k2xw4k6v9n0q1r8s7t3u5y2z1"},
	},
	{
		"podman, in a podman pod", // github.com/containers/podman/pull/4639
		"/machine.slice/machine-libpod_pod_" + id2 + ".slice/libpod-" + id1 + ".scope",
		Container{ID: id1},
	},
	{
		"podman, conmon", // github.com/aquasecurity/tracee/pull/5190
		"/machine.slice/libpod-conmon-" + id1 + ".scope",
		Container{},
	},
	{
		"podman, cgroupfs", // github.com/containers/podman/pull/14764
		"/libpod_parent/libpod-" + id1,
		Container{ID: id1},
	},
	{
		"podman, cgroups disabled", // github.com/containers/podman/issues/20910
		"/user.slice/user-10000.slice/user@10000.service/user.slice/podman-239302.scope",
		Container{},
	},
	{
		"systemd in docker", // github.com/kubernetes/test-infra/pull/37440
		"/docker/" + id1 + "/init.scope",
		Container{ID: id1},
	},
	{
		"a service of a systemd in docker",
		"/system.slice/docker-" + id1 + ".scope/system.slice/nginx.service",
		Container{ID: id1},
	},
	{
		"docker in docker",
		"/docker/" + id1 + "/docker/" + id2,
		Container{ID: id2},
	},
	{
		"docker in a pod", // github.com/kubernetes/test-infra/pull/37440
		"/kubepods/burstable/pod" + uid + "/" + id1 + "/dind/docker/" + id2,
		Container{ID: id2, PodUID: uid},
	},
	{
		"kind", // github.com/kubernetes-sigs/kind/issues/3947
		"/system.slice/docker-" + id2 + ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice/cri-containerd-" + id1 + ".scope",
		Container{ID: id1, PodUID: uid},
	},
	{
		"kind, the pod's own cgroup", // the node's container is not the pod's
		"/docker/" + id2 + "/kubelet/kubepods/pod" + uid,
		Container{PodUID: uid},
	},
	{
		"kind, conmon in the pod's slice", // runs in the node's container
		"/docker/" + id2 + "/kubelet/kubepods/pod" + uid + "/crio-conmon-" + id1,
		Container{ID: id2},
	},
	{
		"garden, cut id", // github.com/elastic/apm/issues/105
		"/system.slice/garden.service/garden/70eb4ce5-a065-4401-6990-88ed",
		Container{ID: "70eb4ce5-a065-4401-6990-88ed"},
	},
	{
		"garden, cut id, other hierarchies", // github.com/DataDog/datadog-agent/pull/11078
		"/garden/fa48c261-19f0-4445-7b4b-87bf",
		Container{ID: "fa48c261-19f0-4445-7b4b-87bf"},
	},
	{
		"garden, with CPU entitlement", // github.com/cloudfoundry/guardian rundmc/cgroups
		"/garden/good/70eb4ce5-a065-4401-6990-88ed",
		Container{ID: "70eb4ce5-a065-4401-6990-88ed"},
	},
	{
		"ECS", // github.com/aws/amazon-ecs-agent/issues/1119
		"/ecs/55091c13-b8cf-4801-b527-f4601742204d/" + id1,
		Container{ID: id1},
	},
	{
		"ECS, cluster and task", // github.com/open-telemetry/opentelemetry-js-contrib/issues/2032
		"/ecs/production/5a0d5ceddf6c44c1928d367a815d890f/" + id1,
		Container{ID: id1},
	},
	{
		"ECS, version 2", // github.com/aws/amazon-ecs-agent agent/taskresource/cgroup
		"/ecstasks.slice/ecstasks-5a0d5ceddf6c44c1928d367a815d890f.slice/docker-" + id1 + ".scope",
		Container{ID: id1},
	},
	{
		"Fargate", // github.com/open-telemetry/opentelemetry-js-contrib/pull/2855
		"/ecs/5a0d5ceddf6c44c1928d367a815d890f/5a0d5ceddf6c44c1928d367a815d890f-2531612879",
		Container{ID: "5a0d5ceddf6c44c1928d367a815d890f-2531612879"},
	},
	{
		"Fargate, cluster and nine digits", // github.com/elastic/apm/issues/887
		"/ecs/production/5a0d5ceddf6c44c1928d367a815d890f/5a0d5ceddf6c44c1928d367a815d890f-253161287",
		Container{ID: "5a0d5ceddf6c44c1928d367a815d890f-253161287"},
	},
	{
		"relative to a namespace's root", // man 7 cgroup_namespaces
		"/../../kubepods/burstable/pod" + uid + "/" + id1,
		Container{ID: id1, PodUID: uid},
	},
	{
		"a sibling in the namespace of a container", // man 7 cgroup_namespaces
		"/../docker-" + id1 + ".scope",
		Container{ID: id1},
	},
	{
		"removed", // docs.kernel.org/admin-guide/cgroup-v2.html, Processes
		"/docker/" + id1 + " (deleted)",
		Container{ID: id1},
	},

	{"empty", "", Container{}},
	{"root", "/", Container{}},
	{"a namespace's parent", "/..", Container{}},
	{"a service", "/system.slice/nginx.service", Container{}},
	{"a session", "/user.slice/user-1000.slice/session-3.scope", Container{}},
	{"a desktop application", "/user.slice/user-10000.slice/user@10000.service/app.slice/vte-spawn-f22f14d2-3d44-4304-9879-3fdd0df7b08e.scope", Container{}},
	{"a mount unit", "/system.slice/var-lib-docker-overlay2-" + id1 + "-merged.mount", Container{}},
	{"a transient unit", "/system.slice/run-r5a0d5ceddf6c44c1928d367a815d890f.service", Container{}},
	{"LXC itself", "/lxc", Container{}},
	{"LXC without a name", "/lxc.payload.", Container{}},
	{"LXC, no name", "/lxc/../web", Container{}},
	{"a machine without a name", "/machine.slice/machine-.scope", Container{}},
	{"a machine, not a name", `/machine.slice/machine-\x0a\x1b.scope`, Container{}},
	{"a machine, broken escape", `/machine.slice/machine-\x2.scope`, Container{}},
	{"a machine's slice", "/machine.slice/machine-web.slice", Container{}},
	{"Nomad's client", "/nomad.slice/share.slice", Container{}},
	{"a Nomad task elsewhere", "/system.slice/70eb4ce5-a065-4401-6990-88ed1d2c3b4a.web.scope", Container{}},
	{"a build's id elsewhere", "/k2xw4k6v9n0q1r8s7t3u5y2z1", Container{}},
	{"a supervisor elsewhere", "/system.slice/web.service/supervisor", Container{}},
	{"docker itself", "/system.slice/docker.service", Container{}},
	{"short id", "/docker/" + id1[:63], Container{}},
	{"long id", "/docker/" + id1 + "0", Container{}},
	{"upper case", "/docker/" + strings.ToUpper(id1), Container{}},
	{"task id elsewhere", "/docker/5a0d5ceddf6c44c1928d367a815d890f-2531612879", Container{}},
	{"garden id elsewhere", "/user/70eb4ce5-a065-4401-6990-88ed", Container{}},
	{"not a pod", "/podruntime/docker", Container{}},
	{"not a pod's uid", "/kubepods/pod2fc932ce-fdcc-454b-97bd", Container{}},
	{"a pod's slice of another kind", "/kubepods-pod" + uid + ".service", Container{}},
	{"separators only", "/:::/-/-.scope/pod/.slice/-pod.slice", Container{}},
}

func TestContainerOf(t *testing.T) {
	t.Parallel()
	for _, test := range containerPaths {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := containerOf(test.path); got != test.want {
				t.Errorf("containerOf(%q)\n got %+v\nwant %+v", test.path, got, test.want)
			}
		})
	}
}

func FuzzContainerOf(f *testing.F) {
	for _, test := range containerPaths {
		f.Add(test.path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got := containerOf(path)
		if strings.Trim(got.PodUID, "0123456789abcdef-") != "" || len(got.PodUID) > 64 {
			t.Errorf("containerOf(%q) = %+v", path, got)
		}
		if got.ID != "" && !isName(got.ID) && !isNomadTask(got.ID) {
			t.Errorf("containerOf(%q) = %+v", path, got)
		}
		if got.ID != "" && !strings.Contains(unescapeUnit(path), got.ID) {
			t.Errorf("containerOf(%q) made up %q", path, got.ID)
		}
	})
}

func BenchmarkContainerOf(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		containerOf("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice/cri-containerd-" + id1 + ".scope")
	}
}
