// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

// otherNetNS is a namespace that any user can have created.
const otherNetNS = 4026532999

func process(executable string, container owner.Container) *owner.Process {
	return &owner.Process{
		Key:      owner.Key{PID: 7},
		Workload: &owner.Workload{Executable: executable, Container: container},
	}
}

// TestRecordsOfAnotherNamespace: a container, or else the namespace, decides the resource.
func TestRecordsOfAnotherNamespace(t *testing.T) {
	pod := owner.Container{PodUID: "5a1f0c3e-8b2d-4e6f-9a7c-0d1e2f3a4b5c"}
	for _, test := range []struct {
		name    string
		netns   uint32
		process *owner.Process
		want    string
	}{
		{"the host", facttest.OwnNetNS, process("sshd", owner.Container{}), "web-1"},
		{"an unknown process of the host", facttest.OwnNetNS, nil, "web-1"},
		{"another namespace", otherNetNS, process("sshd", owner.Container{}), "web-1/netns/4026532999"},
		{"an unknown process there", otherNetNS, nil, "web-1/netns/4026532999"},
		{"a container there", otherNetNS, process("sshd", owner.Container{ID: "known"}), "known"},
		{"a container of the host's namespace", facttest.OwnNetNS, process("sshd", owner.Container{ID: "known"}), "known"},
		{"a pod there, the container unknown", otherNetNS, process("sshd", pod), "web-1/netns/4026532999"},
	} {
		l := testLogs(allEvents())
		instance := func(added bool) string {
			require.True(t, added)
			id, ok := l.Take().Logs.ResourceLogs().At(0).Resource().Attributes().Get("service.instance.id")
			require.True(t, ok)
			return id.Str()
		}
		opened, closed, selected := facttest.Opened(), facttest.Closed(), facttest.Packet()
		opened.NetNS, closed.NetNS, selected.NetNS = test.netns, test.netns, test.netns
		require.Equal(t, test.want, instance(l.Opened(opened, test.process, owner.ByListener)), test.name)
		require.Equal(t, test.want, instance(l.Closed(closed, 0, test.process, owner.ByListener)), test.name)
		require.Equal(t, test.want, instance(l.Packet(selected, test.process, owner.ByListener)), test.name)
		failed := facttest.Failed()
		failed.NetNS = test.netns
		require.Equal(t, test.want, instance(l.Failed(failed, test.process)), test.name)
	}
}
