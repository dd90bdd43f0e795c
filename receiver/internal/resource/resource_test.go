// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/filter"

	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

const ownNetNS, otherNetNS = 4026531840, 4026532999

func newBuilder(change ...func(*metadata.ResourceAttributesConfig)) *Builder {
	config := metadata.DefaultResourceAttributesConfig()
	for _, f := range change {
		f(&config)
	}
	return NewBuilder(config, "web-1", ownNetNS, EventFilters)
}

// TestOrigin: a container is the origin wherever it is, a namespace only without a container.
func TestOrigin(t *testing.T) {
	b := newBuilder()
	known := owner.Container{ID: "known"}
	of := func(c owner.Container) *owner.Workload { return &owner.Workload{Executable: "nginx", Container: c} }
	require.Equal(t, Origin{}, b.Origin(nil, ownNetNS))
	require.Equal(t, Origin{NetNS: otherNetNS}, b.Origin(nil, otherNetNS))
	require.Equal(t, Origin{Service: "nginx"}, b.Origin(of(owner.Container{}), ownNetNS))
	require.Equal(t, Origin{Container: known, Service: "nginx"}, b.Origin(of(known), ownNetNS))
	require.Equal(t, Origin{Container: known, Service: "nginx"}, b.Origin(of(known), otherNetNS))
	pod := owner.Container{ID: "known", PodUID: "uid"}
	require.Equal(t, Origin{Container: pod}, b.Origin(of(pod), otherNetNS), "its workload names it")
}

func TestBuild(t *testing.T) {
	pod := owner.Container{ID: "id", PodUID: "uid", Delegated: true}
	withoutInstance := func(c *metadata.ResourceAttributesConfig) { c.ServiceInstanceID.Enabled = false }
	for name, test := range map[string]struct {
		builder *Builder
		from    Origin
		want    map[string]any
	}{
		"host": {newBuilder(), Origin{}, map[string]any{"host.name": "web-1", "service.instance.id": "web-1"}},
		"service": {newBuilder(), Origin{Service: "ngi\x1bnx"}, map[string]any{
			"host.name": "web-1", "service.instance.id": "web-1", "service.name": "ngi\uFFFDnx",
		}},
		"no service": {newBuilder(func(c *metadata.ResourceAttributesConfig) { c.ServiceName.Enabled = false }), Origin{Service: "nginx"}, map[string]any{
			"host.name": "web-1", "service.instance.id": "web-1",
		}},
		"namespace": {newBuilder(), Origin{NetNS: otherNetNS}, map[string]any{
			"host.name": "web-1", "service.instance.id": "web-1/netns/4026532999",
		}},
		"pod": {newBuilder(), Origin{Container: pod}, map[string]any{
			"host.name": "web-1", "service.instance.id": "id", "container.id": "id", "k8s.pod.uid": "uid",
			"tcp.container.delegated": true,
		}},
		"no instance": {newBuilder(withoutInstance), Origin{NetNS: otherNetNS}, map[string]any{"host.name": "web-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			resource, allowed := test.builder.Build(test.from)
			require.True(t, allowed)
			require.Equal(t, test.want, resource.Attributes().AsRaw())
		})
	}
}

// TestVisible: origins that the resource shows alike are equal.
func TestVisible(t *testing.T) {
	anonymous := newBuilder(func(c *metadata.ResourceAttributesConfig) {
		c.ContainerID.Enabled, c.ServiceInstanceID.Enabled = false, false
	})
	require.Equal(t, Origin{}, anonymous.Visible(Origin{Container: owner.Container{ID: "id", Delegated: true}}))
	require.Equal(t, Origin{}, anonymous.Visible(Origin{NetNS: otherNetNS}))
	pod := Origin{Container: owner.Container{PodUID: "uid", Delegated: true}}
	require.Equal(t, pod, anonymous.Visible(pod))
	from := Origin{Container: owner.Container{ID: "id"}, NetNS: otherNetNS}
	require.Equal(t, from, newBuilder().Visible(from))
	require.Equal(t, "a\uFFFD", newBuilder().Visible(Origin{Container: owner.Container{ID: "a\x1b"}}).ID)
}

func TestFilters(t *testing.T) {
	config := metadata.DefaultResourceAttributesConfig()
	config.ContainerID.EventsInclude = []filter.Config{{Strict: "wanted"}}
	config.HostName.MetricsExclude = []filter.Config{{Strict: "web-1"}}
	events := NewBuilder(config, "web-1", ownNetNS, EventFilters)
	metrics := NewBuilder(config, "web-1", ownNetNS, MetricFilters)
	for id, want := range map[string]bool{"wanted": true, "other": false} {
		_, allowed := events.Build(Origin{Container: owner.Container{ID: id}})
		require.Equal(t, want, allowed, id)
	}
	_, allowed := events.Build(Origin{})
	require.True(t, allowed, "without the attribute nothing is filtered")
	_, allowed = metrics.Build(Origin{})
	require.False(t, allowed)
}
