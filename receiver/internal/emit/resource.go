// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"go.opentelemetry.io/collector/filter"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

// resources makes the resource of a container, as resource_attributes configures it.
type resources struct {
	config           metadata.ResourceAttributesConfig
	hostName         string
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

func newResources(config metadata.ResourceAttributesConfig, hostName string, of filters) *resources {
	r := &resources{
		config:   config,
		hostName: clean.String(hostName),
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

// build makes the resource, and reports whether the filters let it through.
func (r *resources) build(c owner.Container) (pcommon.Resource, bool) {
	c = cleaned(c)
	builder := metadata.NewResourceBuilder(r.config)
	if r.hostName != "" {
		builder.SetHostName(r.hostName)
	}
	instance := r.hostName
	if c.ID != "" {
		builder.SetContainerID(c.ID)
		instance = c.ID
	}
	if c.PodUID != "" {
		builder.SetK8sPodUID(c.PodUID)
	}
	if r.visible(c).Delegated {
		builder.SetTCPContainerDelegated(true)
	}
	if instance != "" {
		builder.SetServiceInstanceID(instance)
	}
	resource := builder.Emit()
	return resource, r.allows(resource)
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

// visible leaves of a container what its resource shows: containers that differ in
// nothing else have to share their series.
func (r *resources) visible(c owner.Container) owner.Container {
	if !r.config.ContainerID.Enabled && !r.config.ServiceInstanceID.Enabled {
		c.ID = ""
	}
	if !r.config.K8sPodUID.Enabled {
		c.PodUID = ""
	}
	if !r.config.TCPContainerDelegated.Enabled || c.ID == "" && c.PodUID == "" {
		c.Delegated = false
	}
	return cleaned(c)
}

func cleaned(c owner.Container) owner.Container {
	c.ID, c.PodUID = clean.String(c.ID), clean.String(c.PodUID)
	return c
}
