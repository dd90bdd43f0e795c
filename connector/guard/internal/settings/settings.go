// SPDX-License-Identifier: Apache-2.0

// Package settings is the configuration of the guard.
package settings

import (
	"errors"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/confmap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/lists"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fault"
	"github.com/ebpftcp/ebpftcpreceiver/internal/strict"
)

// Modes.
const (
	Off     = "off"
	DryRun  = "dry_run"
	Limit   = "limit"
	Enforce = "enforce"
)

// Config is the connector's configuration. A test compares its defaults with config.schema.yaml
// and docs/guard.md.
type Config struct {
	// Mode says what happens to packets of blocked sources.
	Mode string `mapstructure:"mode"`
	// Interfaces are names and globs of those to guard; ExcludeInterfaces are left out.
	Interfaces        []string `mapstructure:"interfaces"`
	ExcludeInterfaces []string `mapstructure:"exclude_interfaces"`
	// TCMode says where on an interface the program attaches.
	TCMode string `mapstructure:"tc_mode"`
	// Scope is local or all: whether forwarded packets are dropped, too.
	Scope string `mapstructure:"scope"`
	// AllProtocols drops packets that aren't TCP, too.
	AllProtocols bool `mapstructure:"all_protocols"`
	// PacketsPerSecond of a source pass in mode limit.
	PacketsPerSecond int `mapstructure:"packets_per_second"`

	// Rules are those that may block. TrustUnmarked are those whose records need not say that
	// the sender can't have been forged.
	Rules         []string `mapstructure:"rules"`
	TrustUnmarked []string `mapstructure:"trust_unmarked"`
	// BlockSpoofable are rules that may block by what can be forged, once the last day is known.
	BlockSpoofable SpoofableConfig `mapstructure:"block_spoofable"`
	// Models may block alone.
	Models ModelsConfig `mapstructure:"models"`
	// Allow are addresses and CIDRs that are never blocked, AllowFiles files with such.
	Allow      []string `mapstructure:"allow"`
	AllowFiles []string `mapstructure:"allow_files"`
	// BlockFiles are files of addresses and CIDRs to block.
	BlockFiles []string `mapstructure:"block_files"`
	// CrowdSec is a local API whose decisions block.
	CrowdSec CrowdSecConfig `mapstructure:"crowdsec"`
	// Shares tells sources that stand for many.
	Shares SharesConfig `mapstructure:"shares"`
	// Storage is the extension that keeps the blocks over a restart.
	Storage *component.ID `mapstructure:"storage"`

	// TTL is how long the first block of a source lasts. It doubles for repeaters, up to MaxTTL.
	TTL    time.Duration `mapstructure:"ttl"`
	MaxTTL time.Duration `mapstructure:"max_ttl"`
	// IPv6Prefix is how many bits of an IPv6 address tell sources apart.
	IPv6Prefix int `mapstructure:"ipv6_prefix"`
	// WhileActive prolongs a block while packets of its source still come.
	WhileActive bool `mapstructure:"while_active"`
	// Cut ends the open connections of a source that is blocked.
	Cut bool `mapstructure:"cut"`
	// FailOpenAfter is how long blocks hold without the collector.
	FailOpenAfter time.Duration `mapstructure:"fail_open_after"`
	// KillFile is one that lets everything pass while it exists.
	KillFile string `mapstructure:"kill_file"`
	// Socket is where the tool ebpf-tcp asks; empty for none.
	Socket string `mapstructure:"socket"`

	// MaxBlocks is how many new blocks rules may make in a minute, MaxRefusals how many
	// refusals are told.
	MaxBlocks   int          `mapstructure:"max_blocks"`
	MaxRefusals int          `mapstructure:"max_refusals"`
	Limits      LimitsConfig `mapstructure:"limits"`
	// MetricsInterval is the time between two points of the metrics.
	MetricsInterval time.Duration `mapstructure:"metrics_interval"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// CrowdSecConfig says which local API of CrowdSec is followed. Without an endpoint, none is.
type CrowdSecConfig struct {
	// Client has the endpoint, timeout, TLS and proxy.
	Client confighttp.ClientConfig `mapstructure:",squash"`
	// Key is that of a bouncer: cscli bouncers add NAME.
	Key configopaque.String `mapstructure:"api_key"`
	// Interval is between two questions.
	Interval time.Duration `mapstructure:"interval"`

	_ struct{}
}

func defaultCrowdSec() CrowdSecConfig {
	client := confighttp.NewDefaultClientConfig()
	client.Timeout = time.Minute
	return CrowdSecConfig{Client: client, Interval: 10 * time.Second}
}

func (c *CrowdSecConfig) validate(f *fault.Faults) {
	fault.InRange(f, "crowdsec::interval", c.Interval, time.Second, time.Hour)
	fault.InRange(f, "crowdsec::timeout", c.Client.Timeout, time.Second, time.Hour)
	switch u, err := url.Parse(c.Client.Endpoint); {
	case c.Client.Endpoint == "" && c.Key == "":
	case c.Client.Endpoint == "":
		f.Add("crowdsec::endpoint", "is missing; write for example http://127.0.0.1:8080")
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		f.Add("crowdsec::endpoint", "%q is not a URL with http or https", c.Client.Endpoint)
	case c.Key == "":
		f.Add("crowdsec::api_key", "is missing; cscli bouncers add NAME makes one")
	}
}

// SpoofableConfig says which rules may block by what can be forged, and where addresses can be
// relied on.
type SpoofableConfig struct {
	Rules      []string `mapstructure:"rules"`
	Interfaces []string `mapstructure:"interfaces"`

	_ struct{}
}

// validate wants all guarded interfaces to be named: a finding does not say where packets came in.
func (s *SpoofableConfig) validate(f *fault.Faults, c *Config) {
	names(f, "block_spoofable::rules", s.Rules)
	patterns(f, "block_spoofable::interfaces", s.Interfaces)
	if len(s.Rules) == 0 {
		return
	}
	for _, guarded := range c.Interfaces {
		if !slices.Contains(s.Interfaces, guarded) {
			f.Add("block_spoofable::interfaces", "lacks %q of interfaces: a finding does not say where packets came in", guarded)
		}
	}
	for i, rule := range s.Rules {
		if rule != "" && !slices.Contains(c.Rules, rule) {
			f.Add(fault.At("block_spoofable::rules", i), "%q is not one of rules", rule)
		}
	}
	if !c.Shares.Enabled {
		f.Add("block_spoofable::rules", "needs shares::enabled, which tells who was served well")
	}
}

// ModelsConfig says which models need no finding beside their scores.
type ModelsConfig struct {
	Alone []string `mapstructure:"alone"`
	// Windows are those in a row in which the score must be high.
	Windows int `mapstructure:"windows"`
	// DryRunFirst is for how long such blocks only count, since a model was first named.
	DryRunFirst time.Duration `mapstructure:"dry_run_first"`

	_ struct{}
}

func (m *ModelsConfig) validate(f *fault.Faults, c *Config) {
	names(f, "models::alone", m.Alone)
	for i, name := range m.Alone {
		if name != "" && !slices.Contains(c.Rules, "model/"+name) {
			f.Add(fault.At("models::alone", i), "rules lacks %q", "model/"+name)
		}
	}
	fault.InRange(f, "models::windows", m.Windows, 1, 10)
	fault.InRange(f, "models::dry_run_first", m.DryRunFirst, 0, maxTTL)
}

// SharesConfig is about sources that stand for many, which no rule may block.
type SharesConfig struct {
	Enabled bool `mapstructure:"enabled"`
	// MaxShare is the part of the host's connections from which on a source stands for many.
	MaxShare float64 `mapstructure:"max_share"`
	// Window is how far back shares look. Until records were seen for so long, rules only count.
	Window time.Duration `mapstructure:"window"`

	_ struct{}
}

// LimitsConfig bounds the memory.
type LimitsConfig struct {
	Sources  int `mapstructure:"sources"`
	Networks int `mapstructure:"networks"`

	_ struct{}
}

// Default is the configuration without any key.
func Default() *Config {
	return &Config{
		Mode:              DryRun,
		Interfaces:        []string{},
		ExcludeInterfaces: []string{},
		TCMode:            "auto",
		Scope:             "local",
		PacketsPerSecond:  100,
		Rules:             []string{},
		TrustUnmarked:     []string{},
		BlockSpoofable:    SpoofableConfig{Rules: []string{}, Interfaces: []string{}},
		Models:            ModelsConfig{Alone: []string{}, Windows: 3, DryRunFirst: 24 * time.Hour},
		Allow:             []string{},
		AllowFiles:        []string{},
		BlockFiles:        []string{},
		CrowdSec:          defaultCrowdSec(),
		Shares:            SharesConfig{Enabled: true, MaxShare: 0.2, Window: 10 * time.Minute},
		TTL:               10 * time.Minute,
		MaxTTL:            24 * time.Hour,
		IPv6Prefix:        64,
		WhileActive:       true,
		Cut:               true,
		FailOpenAfter:     30 * time.Second,
		MaxBlocks:         1000,
		MaxRefusals:       100,
		Limits:            LimitsConfig{Sources: 100_000, Networks: 200_000},
		MetricsInterval:   10 * time.Second,
	}
}

// Unmarshal refuses values that the Collector's decoder would change.
func (c *Config) Unmarshal(conf *confmap.Conf) error { return strict.Unmarshal(conf, c) }

// Bounds of the configuration, both ends allowed.
const (
	minTTL, maxTTL             = time.Second, 365 * 24 * time.Hour
	minOpen, maxOpen           = 3 * time.Second, time.Hour
	minInterval, maxInterval   = 100 * time.Millisecond, 24 * time.Hour
	minEntries, maxEntries     = 64, 1 << 20
	minIPv6Prefix              = 32
	maxPerSecond, maxPerMinute = 1_000_000, 1_000_000
	maxAllow                   = 1024
)

// Validate reports every fault at once. Each begins with the path of its key.
func (c *Config) Validate() error {
	var f fault.Faults
	fault.OneOf(&f, "mode", c.Mode, Off, DryRun, Limit, Enforce)
	if c.Mode != Off && len(c.Interfaces) == 0 {
		f.Add("interfaces", "names none; write for example [eth0]")
	}
	patterns(&f, "interfaces", c.Interfaces)
	patterns(&f, "exclude_interfaces", c.ExcludeInterfaces)
	fault.OneOf(&f, "tc_mode", c.TCMode, "auto", "tcx", "clsact")
	fault.OneOf(&f, "scope", c.Scope, "local", "all")
	fault.InRange(&f, "packets_per_second", c.PacketsPerSecond, 1, maxPerSecond)
	names(&f, "rules", c.Rules)
	names(&f, "trust_unmarked", c.TrustUnmarked)
	c.BlockSpoofable.validate(&f, c)
	c.Models.validate(&f, c)
	fault.Prefixes(&f, "allow", c.Allow, maxAllow)
	files(&f, "allow_files", c.AllowFiles)
	files(&f, "block_files", c.BlockFiles)
	c.CrowdSec.validate(&f)
	fault.InRange(&f, "shares::max_share", c.Shares.MaxShare, 0.01, 1)
	fault.InRange(&f, "shares::window", c.Shares.Window, time.Second, time.Hour)
	fault.InRange(&f, "ttl", c.TTL, minTTL, maxTTL)
	fault.InRange(&f, "max_ttl", c.MaxTTL, minTTL, maxTTL)
	if c.MaxTTL < c.TTL {
		f.Add("max_ttl", "%v is shorter than ttl, %v", c.MaxTTL, c.TTL)
	}
	fault.InRange(&f, "ipv6_prefix", c.IPv6Prefix, minIPv6Prefix, 128)
	fault.InRange(&f, "fail_open_after", c.FailOpenAfter, minOpen, maxOpen)
	if c.KillFile != "" && !filepath.IsAbs(c.KillFile) {
		f.Add("kill_file", "%q is not an absolute path", c.KillFile)
	}
	if c.Socket != "" && !filepath.IsAbs(c.Socket) {
		f.Add("socket", "%q is not an absolute path", c.Socket)
	}
	fault.InRange(&f, "max_blocks", c.MaxBlocks, 1, maxPerMinute)
	fault.InRange(&f, "max_refusals", c.MaxRefusals, 0, maxPerMinute)
	fault.InRange(&f, "limits::sources", c.Limits.Sources, minEntries, maxEntries)
	fault.InRange(&f, "limits::networks", c.Limits.Networks, minEntries, maxEntries)
	fault.InRange(&f, "metrics_interval", c.MetricsInterval, minInterval, maxInterval)
	return errors.Join(f...)
}

func patterns(f *fault.Faults, key string, items []string) {
	for i, item := range items {
		if _, err := path.Match(item, ""); err != nil || item == "" {
			f.Add(fault.At(key, i), "%q is neither a name nor a glob", item)
		}
	}
}

func files(f *fault.Faults, key string, items []string) {
	if err := lists.Validate(items); err != nil {
		f.Add(key, "%w", err)
	}
}

func names(f *fault.Faults, key string, items []string) {
	for i, item := range items {
		if item == "" {
			f.Add(fault.At(key, i), "is empty")
		}
	}
}

// Prefixes are those of a list that was validated.
func Prefixes(items []string) []netip.Prefix {
	var none fault.Faults
	return fault.Prefixes(&none, "", items, len(items))
}
