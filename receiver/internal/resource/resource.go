// SPDX-License-Identifier: Apache-2.0

// Package resource tells where a fact is from, and makes the resource that shows it. Log
// records and metrics share it.
package resource

import (
	"path"
	"strconv"

	"go.opentelemetry.io/collector/filter"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

// Origin is where a fact is from: a container, or else a network namespace, or else the host,
// and which service there. Anyone who may create a user namespace can listen at any port and address in a network
// namespace of their own. So facts from other namespaces never belong to the host.
type Origin struct {
	owner.Container
	// NetNS is the inode number; 0 with a container and on the host.
	NetNS uint32
	// Service is the name of the executable; "" if it is unknown, or if a pod is known.
	Service string
}

// SchemaURL names the version of the semantic conventions that attributes follow. Those of
// gen_ai follow 1.41.0, because later versions have them elsewhere.
const SchemaURL = "https://opentelemetry.io/schemas/1.43.0"

// Builder makes the resource of an origin, as resource_attributes configures it.
type Builder struct {
	config           metadata.ResourceAttributesConfig
	hostName         string
	ownNetNS         uint32
	include, exclude map[string]filter.Filter
}

// Filters are the two lists of one resource attribute that apply to a signal.
type Filters func(metadata.ResourceAttributeConfig) (include, exclude []filter.Config)

// EventFilters are those of log records.
func EventFilters(c metadata.ResourceAttributeConfig) (include, exclude []filter.Config) {
	return c.EventsInclude, c.EventsExclude
}

// MetricFilters are those of data points.
func MetricFilters(c metadata.ResourceAttributeConfig) (include, exclude []filter.Config) {
	return c.MetricsInclude, c.MetricsExclude
}

// NewBuilder makes a Builder. The filters must be valid.
func NewBuilder(config metadata.ResourceAttributesConfig, hostName string, ownNetNS uint32, of Filters) *Builder {
	b := &Builder{
		config:   config,
		hostName: clean.String(hostName),
		ownNetNS: ownNetNS,
		include:  map[string]filter.Filter{},
		exclude:  map[string]filter.Filter{},
	}
	for name, attribute := range declared.ResourceAttributes(&config) {
		include, exclude := of(attribute)
		if len(include) > 0 {
			b.include[name] = filter.CreateFilter(include)
		}
		if len(exclude) > 0 {
			b.exclude[name] = filter.CreateFilter(exclude)
		}
	}
	return b
}

// OwnNetNS is the network namespace that is the host's.
func (b *Builder) OwnNetNS() uint32 { return b.ownNetNS }

// Origin returns the origin of a fact about a workload, which is nil if unknown, and a network
// namespace.
func (b *Builder) Origin(w *owner.Workload, netns uint32) Origin {
	var from Origin
	if w != nil {
		from.Container = w.Container
		if b.config.ServiceName.Enabled && w.Container.PodUID == "" {
			from.Service = w.Executable
		}
	}
	if from.ID == "" && netns != b.ownNetNS {
		from.NetNS = netns
	}
	return from
}

// Build makes the resource, and reports whether the filters accept it.
func (b *Builder) Build(from Origin) (pcommon.Resource, bool) {
	from = b.Visible(from)
	c := from.Container
	builder := metadata.NewResourceBuilder(b.config)
	if b.hostName != "" {
		builder.SetHostName(b.hostName)
	}
	instance := b.instance(from.NetNS)
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
	if from.Service != "" {
		builder.SetServiceName(from.Service)
	}
	resource := builder.Emit()
	return resource, b.allows(resource)
}

// instance returns service.instance.id if no container is known.
func (b *Builder) instance(netns uint32) string {
	if netns == 0 {
		return b.hostName
	}
	return path.Join(b.hostName, "netns", strconv.FormatUint(uint64(netns), 10))
}

func (b *Builder) allows(resource pcommon.Resource) bool {
	for name, include := range b.include {
		if value, ok := resource.Attributes().Get(name); ok && !include.Matches(value.AsString()) {
			return false
		}
	}
	for name, exclude := range b.exclude {
		if value, ok := resource.Attributes().Get(name); ok && exclude.Matches(value.AsString()) {
			return false
		}
	}
	return true
}

// Visible reduces an origin to what its resource shows. Origins with equal resources share
// series.
func (b *Builder) Visible(from Origin) Origin {
	c := &from.Container
	if !b.config.ServiceName.Enabled || c.PodUID != "" {
		from.Service = ""
	}
	if !b.config.ContainerID.Enabled && !b.config.ServiceInstanceID.Enabled {
		c.ID = ""
	}
	if !b.config.K8sPodUID.Enabled {
		c.PodUID = ""
	}
	if !b.config.TCPContainerDelegated.Enabled || c.ID == "" && c.PodUID == "" {
		c.Delegated = false
	}
	if !b.config.ServiceInstanceID.Enabled {
		from.NetNS = 0
	}
	from.Container, from.Service = cleaned(*c), clean.String(from.Service)
	return from
}

func cleaned(c owner.Container) owner.Container {
	c.ID, c.PodUID = clean.String(c.ID), clean.String(c.PodUID)
	return c
}
