// SPDX-License-Identifier: Apache-2.0

// Package sources is the configuration block sources: its keys, its checks, what the kernel side
// gets of it, and the internal metrics about it.
package sources

import (
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

// Config says what is counted per source of segments.
type Config struct {
	Enabled bool `mapstructure:"enabled"`
	// Interval is the time between two records of a source.
	Interval time.Duration `mapstructure:"interval"`
	// IPv6Prefix is the length of the prefix of IPv6 addresses that is one source.
	IPv6Prefix int `mapstructure:"ipv6_prefix"`
	// MinAttempts is from how many ordinary attempts in an interval on a source has a record of
	// its own. What no ordinary client does needs none.
	MinAttempts int `mapstructure:"min_attempts"`
	// MaxRecords bounds the records in an interval. One more sums up the other sources.
	MaxRecords int `mapstructure:"max_records"`
	// IdleTimeout is how long a source that does nothing is followed.
	IdleTimeout time.Duration `mapstructure:"idle_timeout"`

	_ struct{}
}

// Default counts nothing.
func Default() Config {
	return Config{
		Interval: time.Second, IPv6Prefix: 64, MinAttempts: 20, MaxRecords: 1000, IdleTimeout: 10 * time.Minute,
	}
}

// Bounds of the configuration, both ends allowed.
const (
	minInterval, maxInterval = 100 * time.Millisecond, time.Hour
	minPrefix, maxPrefix     = 1, 128
	minAttempts, maxAttempts = 1, 1_000_000
	minRecords, maxRecords   = 1, 100_000
	minLimit, maxLimit       = 64, 1 << 20
	minIdle, maxIdle         = time.Second, 24 * time.Hour
)

// Validate adds the faults of the block, and of its limit, to f. mode is how packet programs
// attach.
func (c *Config) Validate(f *check.Faults, mode string, limit int) {
	check.InRange(f, "limits::sources", limit, minLimit, maxLimit)
	check.InRange(f, "sources::interval", c.Interval, minInterval, maxInterval)
	check.InRange(f, "sources::ipv6_prefix", c.IPv6Prefix, minPrefix, maxPrefix)
	check.InRange(f, "sources::min_attempts", c.MinAttempts, minAttempts, maxAttempts)
	check.InRange(f, "sources::max_records", c.MaxRecords, minRecords, maxRecords)
	check.InRange(f, "sources::idle_timeout", c.IdleTimeout, minIdle, maxIdle)
	if c.Enabled && mode == string(probe.TCOff) {
		f.Add("sources::enabled", "needs to see packets, but tc::mode is %q", mode)
	}
}

// Settings is what the kernel side gets. The switches of events and metrics say what anybody wants.
func (c *Config) Settings(limit int, events *metadata.EventsConfig, metrics *metadata.MetricsConfig) probe.Sources {
	if !c.Enabled {
		return probe.Sources{}
	}
	return probe.Sources{
		Enabled:     true,
		Interval:    c.Interval,
		IPv6Prefix:  c.IPv6Prefix,
		MinAttempts: c.MinAttempts,
		MaxRecords:  c.MaxRecords,
		IdleTimeout: c.IdleTimeout,
		MaxSources:  uint32(limit),
		Records:     events.TCPServerSource.Enabled,
		Services:    events.TCPServerListener.Enabled,
		Namespaces: metrics.TCPServerNamespaceAcceptQueueOverflows.Enabled || metrics.TCPServerNamespaceEmbryonicResets.Enabled ||
			metrics.TCPServerNamespaceSynCookies.Enabled || metrics.TCPServerNamespaceSynQueueOverflows.Enabled,
	}
}
