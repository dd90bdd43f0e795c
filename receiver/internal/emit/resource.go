// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"path"
	"strconv"

	"go.opentelemetry.io/collector/filter"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

// origin is where a fact is from, which its resource shows: a container; where none is
// known a network namespace, unless that is the host's; else the host. Whoever may make
// a user namespace may listen at any port and address in a network namespace of his own,
// so what happens there is never the host's.
type origin struct {
	owner.Container
	// netns is the inode number; 0 with a container, and on the host.
	netns uint32
}

// resources makes the resource of an origin, as resource_attributes configures it.
type resources struct {
	config           metadata.ResourceAttributesConfig
	hostName         string
	ownNetNS         uint32
	include, exclude map[string]filter.Filter
}

// filters are the two lists of one resource attribute that apply to a signal.
type filters func(metadata.ResourceAttributeConfig) (include, exclude []filter.Config)

func eventFilters(c metadata.ResourceAttributeConfig) (include, exclude []filter.Config) {
	return c.EventsInclude, c.EventsExclude
}

func metricFilters(c metadata.ResourceAttributeConfig) (include, exclude []filter.Config) {
	return c.MetricsInclude, c.MetricsExclude
}

func newResources(config metadata.ResourceAttributesConfig, hostName string, ownNetNS uint32, of filters) *resources {
	r := &resources{
		config:   config,
		hostName: clean.String(hostName),
		ownNetNS: ownNetNS,
		include:  map[string]filter.Filter{},
		exclude:  map[string]filter.Filter{},
	}
	for name, attribute := range map[string]metadata.ResourceAttributeConfig{
		"container.id":            config.ContainerID,
		"host.name":               config.HostName,
		"k8s.pod.uid":             config.K8sPodUID,
		"service.instance.id":     config.ServiceInstanceID,
		"tcp.container.delegated": config.TCPContainerDelegated,
	} {
		include, exclude := of(attribute)
		if len(include) > 0 {
			r.include[name] = filter.CreateFilter(include)
		}
		if len(exclude) > 0 {
			r.exclude[name] = filter.CreateFilter(exclude)
		}
	}
	return r
}

func (r *resources) origin(c owner.Container, netns uint32) origin {
	if c.ID != "" || netns == r.ownNetNS {
		netns = 0
	}
	return origin{Container: c, netns: netns}
}

// build makes the resource, and reports whether the filters let it through.
func (r *resources) build(from origin) (pcommon.Resource, bool) {
	from = r.visible(from)
	c := from.Container
	builder := metadata.NewResourceBuilder(r.config)
	if r.hostName != "" {
		builder.SetHostName(r.hostName)
	}
	instance := r.instance(from.netns)
	if c.ID != "" {
		builder.SetContainerID(c.ID)
		instance = c.ID
	}
	if c.PodUID != "" {
		builder.SetK8sPodUID(c.PodUID)
	}
	if c.Delegated {
		builder.SetTCPContainerDelegated(true)
	}
	if instance != "" {
		builder.SetServiceInstanceID(instance)
	}
	resource := builder.Emit()
	return resource, r.allows(resource)
}

// instance is service.instance.id where no container is known.
func (r *resources) instance(netns uint32) string {
	if netns == 0 {
		return r.hostName
	}
	return path.Join(r.hostName, "netns", strconv.FormatUint(uint64(netns), 10))
}

func (r *resources) allows(resource pcommon.Resource) bool {
	for name, include := range r.include {
		if value, ok := resource.Attributes().Get(name); ok && !include.Matches(value.AsString()) {
			return false
		}
	}
	for name, exclude := range r.exclude {
		if value, ok := resource.Attributes().Get(name); ok && exclude.Matches(value.AsString()) {
			return false
		}
	}
	return true
}

// visible leaves of an origin what its resource shows: origins that differ in nothing
// else have to share their series.
func (r *resources) visible(from origin) origin {
	c := &from.Container
	if !r.config.ContainerID.Enabled && !r.config.ServiceInstanceID.Enabled {
		c.ID = ""
	}
	if !r.config.K8sPodUID.Enabled {
		c.PodUID = ""
	}
	if !r.config.TCPContainerDelegated.Enabled || c.ID == "" && c.PodUID == "" {
		c.Delegated = false
	}
	if !r.config.ServiceInstanceID.Enabled {
		from.netns = 0
	}
	from.Container = cleaned(*c)
	return from
}

func cleaned(c owner.Container) owner.Container {
	c.ID, c.PodUID = clean.String(c.ID), clean.String(c.PodUID)
	return c
}
