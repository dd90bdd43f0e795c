// SPDX-License-Identifier: Apache-2.0

package series

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

// otherNetNS is a namespace that any user can have created.
const otherNetNS = 4026532999

// instances returns the values of a metric by service.instance.id.
func instances(data pmetric.Metrics, name string) map[string][]int64 {
	found := map[string][]int64{}
	each(data, func(resource pcommon.Resource, m pmetric.Metric) {
		if m.Name() != name {
			return
		}
		id, _ := resource.Attributes().Get("service.instance.id")
		for _, p := range m.Sum().DataPoints().All() {
			found[id.Str()] = append(found[id.Str()], p.IntValue())
		}
	})
	return found
}

func process(executable string, container owner.Container) *owner.Process {
	return &owner.Process{
		Key:      owner.Key{PID: 7},
		Workload: &owner.Workload{Executable: executable, Container: container},
	}
}

// TestSeriesOfAnotherNamespace: a namespace uses a port of the host, and a process with the same
// name. The series of the host and of known containers stay as they are.
func TestSeriesOfAnotherNamespace(t *testing.T) {
	r := newRig(Options{})
	sshd := process("sshd", owner.Container{}).Workload
	r.AddCount(Key{NetNS: facttest.OwnNetNS, Port: 22, IPv4: true, Workload: sshd}, connection.Opens, "", 5)
	r.AddCount(Key{NetNS: otherNetNS, Port: 22, IPv4: true, Workload: sshd}, connection.Opens, "", 1000)
	r.AddCount(Key{NetNS: otherNetNS, Port: 22, IPv4: true, Workload: process("sshd", owner.Container{ID: "known"}).Workload}, connection.Opens, "", 7)
	r.AddCount(Key{NetNS: otherNetNS + 1, Port: 22, IPv4: true, Workload: process("sshd", owner.Container{ID: "known"}).Workload}, connection.Opens, "", 1)
	r.AddCount(Key{NetNS: facttest.OwnNetNS}, connection.Failures, "refused", 2)
	r.AddCount(Key{NetNS: otherNetNS}, connection.Failures, "refused", 3)
	r.SetInterface(packet.Interface{Name: "eth0", Fragments: 10})
	r.SetInterface(packet.Interface{Name: "eth0", NetNS: otherNetNS, Fragments: 20})
	data := r.pass(time.Second)
	require.Equal(t, map[string][]int64{"web-1": {5}, "web-1/netns/4026532999": {1000}, "known": {8}},
		instances(data, "tcp.server.connection.opened"))
	require.Equal(t, map[string][]int64{"web-1": {2}, "web-1/netns/4026532999": {3}},
		instances(data, "tcp.server.connection.failed"))
	require.Equal(t, map[string][]int64{"web-1": {10}, "web-1/netns/4026532999": {20}},
		instances(data, "tcp.server.fragments"))
}

// TestSeriesWithoutInstance: series with equal attributes are summed up.
func TestSeriesWithoutInstance(t *testing.T) {
	r := newRig(Options{}, func(c *metadata.MetricsBuilderConfig) {
		c.ResourceAttributes.ServiceInstanceID.Enabled = false
	})
	r.AddCount(Key{NetNS: facttest.OwnNetNS, Port: 22}, connection.Opens, "", 5)
	r.AddCount(Key{NetNS: otherNetNS, Port: 22}, connection.Opens, "", 1000)
	require.Equal(t, map[string][]int64{"": {1005}}, instances(r.pass(time.Second), "tcp.server.connection.opened"))
}
