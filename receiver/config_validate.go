// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"go.opentelemetry.io/collector/config/configretry"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// Bounds of the configuration, both ends allowed.
const (
	minInterval, maxInterval           = 100 * time.Millisecond, 24 * time.Hour
	minHandshake, maxHandshake         = 100 * time.Millisecond, time.Hour
	minBatchAge, maxBatchAge           = time.Millisecond, time.Minute
	minBatchRecords, maxBatchRecords   = 1, 100_000
	minQueueBytes, maxQueueBytes       = 4 << 10, min(16<<30, math.MaxInt)
	minConnections, maxConnections     = 0, 16 << 20
	minEntries, maxEntries             = 1, 1 << 20
	maxRingBytes                       = 1 << 30
	minNamespaces, maxNamespaces       = 1, 4096
	minSeries, maxSeries               = 1, 1_000_000
	minPerSecond, maxPerSecond         = 1, 1_000_000
	minSampleRate, maxSampleRate       = 0, 1 << 30
	minRetryInterval, maxRetryInterval = time.Millisecond, time.Hour
	maxElapsedTime                     = 24 * time.Hour
	minMultiplier, maxMultiplier       = 1.0, 10.0
)

// faults collects what is wrong with a configuration, each with its key path.
type faults []error

func (f *faults) add(path, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %w", path, fmt.Errorf(format, args...)))
}

func inRange[T int | float64 | time.Duration](f *faults, path string, value, low, high T) {
	// So that not-a-number is a fault.
	if !(value >= low && value <= high) {
		f.add(path, "%v is out of range, allowed are %v to %v", value, low, high)
	}
}

func oneOf(f *faults, path, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	f.add(path, "%q is unknown, allowed are %q", value, allowed)
}

// Validate reports every fault at once, each beginning with the path of its key.
// The Collector also calls the own Validate of retry_on_failure's type.
func (c *Config) Validate() error {
	var f faults
	c.probeConfig(&f)
	inRange(&f, "collection_interval", c.CollectionInterval, minInterval, maxInterval)
	inRange(&f, "metric_expiration", c.MetricExpiration, minInterval, maxInterval)
	if c.MetricExpiration < c.CollectionInterval {
		f.add("metric_expiration", "%s is shorter than collection_interval (%s)", c.MetricExpiration, c.CollectionInterval)
	}
	oneOf(&f, "histograms", c.Histograms, histogramsExplicit, histogramsExponential)
	oneOf(&f, "on_missing", c.OnMissing, onMissingReport, onMissingFail)
	oneOf(&f, "tc::mode", c.TC.Mode,
		string(probe.TCAuto), string(probe.TCX), string(probe.TCClsact), string(probe.TCOff))
	oneOf(&f, "tc::position", c.TC.Position, positionFirst, positionLast)
	c.validateScope(&f)
	inRange(&f, "connections::handshake_timeout", c.Connections.HandshakeTimeout, minHandshake, maxHandshake)
	inRange(&f, "packets::sample_rate", c.Packets.SampleRate, minSampleRate, maxSampleRate)
	inRange(&f, "packets::max_per_second", c.Packets.MaxPerSecond, minPerSecond, maxPerSecond)
	inRange(&f, "batch::max_records", c.Batch.MaxRecords, minBatchRecords, maxBatchRecords)
	inRange(&f, "batch::max_age", c.Batch.MaxAge, minBatchAge, maxBatchAge)
	inRange(&f, "queue::max_bytes", c.Queue.MaxBytes, minQueueBytes, maxQueueBytes)
	c.validateNeeds(&f)
	c.validateSelections(&f)
	validateRetry(&f, &c.Retry)
	c.Limits.validate(&f)
	return errors.Join(f...)
}

// validateScope refuses namespaces that the scope leaves out.
func (c *Config) validateScope(f *faults) {
	oneOf(f, "connections::scope", c.Connections.Scope,
		string(probe.ScopeAll), string(probe.ScopeHost), string(probe.ScopeInitialUserNS))
	if c.Connections.Scope == string(probe.ScopeHost) && len(c.Interfaces.NetworkNamespaces) > 0 {
		f.add("interfaces::network_namespaces",
			"names other network namespaces, but connections::scope is %q", c.Connections.Scope)
	}
}

// validateNeeds refuses what would silently do nothing.
func (c *Config) validateNeeds(f *faults) {
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
			f.add(key.path, "needs to see packets, but tc::mode is %q", c.TC.Mode)
		}
	}
}

func validateRetry(f *faults, r *configretry.BackOffConfig) {
	if !r.Enabled {
		return
	}
	inRange(f, "retry_on_failure::initial_interval", r.InitialInterval, minRetryInterval, maxRetryInterval)
	inRange(f, "retry_on_failure::max_interval", r.MaxInterval, minRetryInterval, maxRetryInterval)
	inRange(f, "retry_on_failure::multiplier", r.Multiplier, minMultiplier, maxMultiplier)
	inRange(f, "retry_on_failure::randomization_factor", r.RandomizationFactor, 0, 1)
	inRange(f, "retry_on_failure::max_elapsed_time", r.MaxElapsedTime, 0, maxElapsedTime)
}

func (l *LimitsConfig) validate(f *faults) {
	inRange(f, "limits::connections", l.Connections, minConnections, maxConnections)
	inRange(f, "limits::listeners", l.Listeners, minEntries, maxEntries)
	inRange(f, "limits::half_open", l.HalfOpen, minEntries, maxEntries)
	inRange(f, "limits::port_counters", l.PortCounters, minEntries, maxEntries)
	inRange(f, "limits::network_namespaces", l.NetworkNamespaces, minNamespaces, maxNamespaces)
	inRange(f, "limits::series", l.Series, minSeries, maxSeries)
	inRange(f, "limits::failed_per_second", l.FailedPerSecond, minPerSecond, maxPerSecond)
	if l.RingBytes == 0 {
		return
	}
	page := os.Getpagesize()
	inRange(f, "limits::ring_bytes", l.RingBytes, page, maxRingBytes)
	if l.RingBytes > 0 && l.RingBytes&(l.RingBytes-1) != 0 {
		f.add("limits::ring_bytes", "%d is not a power of two", l.RingBytes)
	}
}
