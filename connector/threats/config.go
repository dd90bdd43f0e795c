// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"errors"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/model"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/scoring"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fault"
	"github.com/ebpftcp/ebpftcpreceiver/internal/strict"
)

// Config is the connector's configuration. A test compares its defaults with config.schema.yaml
// and docs/threats.md.
type Config struct {
	// Storage is the extension that keeps the state over a restart.
	Storage *component.ID `mapstructure:"storage"`
	// CheckpointInterval is how often the state is stored.
	CheckpointInterval time.Duration `mapstructure:"checkpoint_interval"`
	// MetricsInterval is the time between two points of the metric.
	MetricsInterval time.Duration `mapstructure:"metrics_interval"`
	// MaxFindings is how many records of findings a minute has.
	MaxFindings int `mapstructure:"max_findings"`
	// EndAfter is how long a finding lasts without new evidence.
	EndAfter time.Duration `mapstructure:"end_after"`
	// IPv6Prefix is how many bits of an IPv6 address tell sources apart.
	IPv6Prefix int `mapstructure:"ipv6_prefix"`
	// Except are addresses and CIDRs that no rule reports.
	Except []string `mapstructure:"except"`

	// ScoreWindow is how long the records of a source are one vector.
	ScoreWindow time.Duration `mapstructure:"score_window"`

	Limits  LimitsConfig          `mapstructure:"limits"`
	Rules   settings.Rules        `mapstructure:"rules"`
	Anomaly scoring.AnomalyConfig `mapstructure:"anomaly"`
	Model   model.Config          `mapstructure:"model"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// LimitsConfig bounds the memory.
type LimitsConfig struct {
	Sources  int `mapstructure:"sources"`
	Services int `mapstructure:"services"`
	Findings int `mapstructure:"findings"`

	_ struct{}
}

func createDefaultConfig() *Config {
	return &Config{
		CheckpointInterval: time.Minute,
		MetricsInterval:    10 * time.Second,
		MaxFindings:        100,
		EndAfter:           10 * time.Minute,
		IPv6Prefix:         64,
		Limits:             LimitsConfig{Sources: 65536, Services: 4096, Findings: 8192},
		Rules:              settings.Default(),
		ScoreWindow:        scoring.DefaultWindow,
		Anomaly:            scoring.DefaultAnomaly(),
		Model:              model.DefaultConfig(),
	}
}

// Unmarshal refuses values that the Collector's decoder would change.
func (c *Config) Unmarshal(conf *confmap.Conf) error { return strict.Unmarshal(conf, c) }

// Bounds of the configuration, both ends allowed.
const (
	minInterval, maxInterval = 100 * time.Millisecond, 24 * time.Hour
	minEntries, maxEntries   = 64, 1 << 22
	maxPerMinute             = 1_000_000
	maxScoreWindow           = time.Hour
)

// Validate reports every fault at once. Each begins with the path of its key.
func (c *Config) Validate() error {
	var f fault.Faults
	fault.InRange(&f, "checkpoint_interval", c.CheckpointInterval, time.Second, maxInterval)
	fault.InRange(&f, "metrics_interval", c.MetricsInterval, minInterval, maxInterval)
	fault.InRange(&f, "max_findings", c.MaxFindings, 1, maxPerMinute)
	fault.InRange(&f, "end_after", c.EndAfter, time.Second, maxInterval)
	fault.InRange(&f, "ipv6_prefix", c.IPv6Prefix, 1, 128)
	fault.Prefixes(&f, "except", c.Except, settings.MaxExcept)
	fault.InRange(&f, "limits::sources", c.Limits.Sources, minEntries, maxEntries)
	fault.InRange(&f, "limits::services", c.Limits.Services, minEntries, maxEntries)
	fault.InRange(&f, "limits::findings", c.Limits.Findings, minEntries, maxEntries)
	fault.InRange(&f, "score_window", c.ScoreWindow, time.Second, maxScoreWindow)
	c.Rules.Validate(&f)
	c.Anomaly.Validate(&f)
	c.Model.Validate(&f)
	return errors.Join(f...)
}
