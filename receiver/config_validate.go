// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"math"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
)

// Bounds of the configuration, both ends allowed.
const (
	minInterval, maxInterval         = 100 * time.Millisecond, 24 * time.Hour
	minHandshake, maxHandshake       = 100 * time.Millisecond, time.Hour
	minBatchAge, maxBatchAge         = time.Millisecond, time.Minute
	minBatchRecords, maxBatchRecords = 1, 100_000
	minQueueBytes, maxQueueBytes     = 4 << 10, min(16<<30, math.MaxInt)
	minConnections, maxConnections   = 0, 16 << 20
	minEntries, maxEntries           = 1, 1 << 20
	minInspectedBytes                = 64 << 10
	minNamespaces, maxNamespaces     = 1, 4096
	minSeries, maxSeries             = 1, 1_000_000
	minPerSecond, maxPerSecond       = 1, 1_000_000
	minSampleRate, maxSampleRate     = 0, 1 << 30
)

// Validate reports every fault at once. Each begins with the path of its key. The Collector
// also calls Validate of the type of retry_on_failure.
func (c *Config) Validate() error {
	var f check.Faults
	kernel := c.probeConfig(&f)
	c.Sources.Validate(&f, c.TC.Mode, c.Limits.Sources)
	c.Inspect.Validate(&f, c.TC.Mode, kernel.Selects())
	check.InRange(&f, "collection_interval", c.CollectionInterval, minInterval, maxInterval)
	check.InRange(&f, "metric_expiration", c.MetricExpiration, minInterval, maxInterval)
	if c.MetricExpiration < c.CollectionInterval {
		f.Add("metric_expiration", "%s is shorter than collection_interval (%s)", c.MetricExpiration, c.CollectionInterval)
	}
	check.OneOf(&f, "histograms", c.Histograms, histogramsExplicit, histogramsExponential)
	check.OneOf(&f, "on_missing", c.OnMissing, onMissingReport, onMissingFail)
	check.OneOf(&f, "tc::mode", c.TC.Mode,
		string(probe.TCAuto), string(probe.TCX), string(probe.TCClsact), string(probe.TCOff))
	check.OneOf(&f, "tc::position", c.TC.Position, positionFirst, positionLast)
	c.validateScope(&f)
	check.InRange(&f, "connections::handshake_timeout", c.Connections.HandshakeTimeout, minHandshake, maxHandshake)
	check.InRange(&f, "connections::update_interval", c.Connections.UpdateInterval, 0, maxInterval)
	if c.Connections.UpdateInterval != 0 && c.Connections.UpdateInterval < c.CollectionInterval {
		f.Add("connections::update_interval", "%s is shorter than collection_interval (%s)", c.Connections.UpdateInterval, c.CollectionInterval)
	}
	check.InRange(&f, "packets::sample_rate", c.Packets.SampleRate, minSampleRate, maxSampleRate)
	check.InRange(&f, "packets::max_per_second", c.Packets.MaxPerSecond, minPerSecond, maxPerSecond)
	check.InRange(&f, "batch::max_records", c.Batch.MaxRecords, minBatchRecords, maxBatchRecords)
	check.InRange(&f, "batch::max_age", c.Batch.MaxAge, minBatchAge, maxBatchAge)
	check.InRange(&f, "queue::max_bytes", c.Queue.MaxBytes, minQueueBytes, maxQueueBytes)
	c.validateNeeds(&f)
	c.validateSelections(&f)
	check.Retry(&f, &c.Retry)
	c.Limits.validate(&f)
	return errors.Join(f...)
}

// validateSelections refuses entries that select nothing, and exclusions that leave nothing.
func (c *Config) validateSelections(f *check.Faults) {
	check.PortSelection(f, c.Ports.Include, c.Ports.Exclude)
	check.ClientSelection(f, c.Clients.Include, c.Clients.Exclude)
	check.Networks(f, c.Clients.Networks)
	if c.TC.Mode != string(probe.TCOff) {
		check.InterfaceSelection(f, c.Interfaces.Include, c.Interfaces.Exclude)
	}
}

// validateScope refuses namespaces that the scope leaves out.
func (c *Config) validateScope(f *check.Faults) {
	check.OneOf(f, "connections::scope", c.Connections.Scope,
		string(probe.ScopeAll), string(probe.ScopeHost), string(probe.ScopeInitialUserNS))
	if c.Connections.Scope == string(probe.ScopeHost) && len(c.Interfaces.NetworkNamespaces) > 0 {
		f.Add("interfaces::network_namespaces",
			"names other network namespaces, but connections::scope is %q", c.Connections.Scope)
	}
}

// validateNeeds refuses settings that would silently have no effect.
func (c *Config) validateNeeds(f *check.Faults) {
	if c.TC.Mode != string(probe.TCOff) {
		return
	}
	for _, key := range []struct {
		path string
		set  bool
	}{
		{"connections::half_open", c.Connections.HalfOpen},
		{"packets::sample_rate", c.Packets.SampleRate != 0},
		{"interfaces::network_namespaces", len(c.Interfaces.NetworkNamespaces) > 0},
		{"packets::flags", len(c.Packets.Flags) > 0},
	} {
		if key.set {
			f.Add(key.path, "needs to see packets, but tc::mode is %q", c.TC.Mode)
		}
	}
}

func (l *LimitsConfig) validate(f *check.Faults) {
	check.InRange(f, "limits::connections", l.Connections, minConnections, maxConnections)
	check.InRange(f, "limits::listeners", l.Listeners, minEntries, maxEntries)
	check.InRange(f, "limits::half_open", l.HalfOpen, minEntries, maxEntries)
	check.InRange(f, "limits::port_counters", l.PortCounters, minEntries, maxEntries)
	check.InRange(f, "limits::network_namespaces", l.NetworkNamespaces, minNamespaces, maxNamespaces)
	check.InRange(f, "limits::series", l.Series, minSeries, maxSeries)
	check.InRange(f, "limits::failed_per_second", l.FailedPerSecond, minPerSecond, maxPerSecond)
	check.InRange(f, "limits::inspected_connections", l.InspectedConnections, minEntries, maxEntries)
	check.InRange(f, "limits::inspected_bytes", l.InspectedBytes, minInspectedBytes, maxQueueBytes)
	check.RingBytes(f, "limits::inspect_ring_bytes", l.InspectRingBytes)
	if l.RingBytes != 0 {
		check.RingBytes(f, "limits::ring_bytes", l.RingBytes)
	}
}
