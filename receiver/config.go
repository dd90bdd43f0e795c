// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"time"

	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/confmap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/internal/strict"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/inspection"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/sources"
)

// Values of Config.Histograms.
const (
	histogramsExplicit    = "explicit"
	histogramsExponential = "exponential"
)

// Values of TCConfig.Position.
const (
	positionFirst = "first"
	positionLast  = "last"
)

// Config is the receiver's configuration. A test compares its defaults with
// config.schema.yaml and docs/configuration.md.
type Config struct {
	// CollectionInterval is the time between two metric snapshots.
	CollectionInterval time.Duration `mapstructure:"collection_interval"`
	// MetricExpiration is how long an unchanged series is sent.
	MetricExpiration time.Duration `mapstructure:"metric_expiration"`
	// SeriesStartAtZero has cumulative series begin with a point of 0, so that functions such as
	// increase() include their first value.
	SeriesStartAtZero bool `mapstructure:"series_start_at_zero"`
	// Histograms is "explicit" or "exponential".
	Histograms string `mapstructure:"histograms"`
	// OnMissing says what happens if the kernel can't provide events or metrics that were
	// asked for. "report" sets the component's status to a permanent error, "fail" makes Start
	// fail.
	OnMissing string `mapstructure:"on_missing"`

	Ports       PortsConfig       `mapstructure:"ports"`
	Clients     ClientsConfig     `mapstructure:"clients"`
	Interfaces  InterfacesConfig  `mapstructure:"interfaces"`
	TC          TCConfig          `mapstructure:"tc"`
	Connections ConnectionsConfig `mapstructure:"connections"`
	Packets     PacketsConfig     `mapstructure:"packets"`
	Inspect     inspection.Config `mapstructure:"inspect"`
	Sources     sources.Config    `mapstructure:"sources"`
	Attribution AttributionConfig `mapstructure:"attribution"`
	Hooks       HooksConfig       `mapstructure:"hooks"`

	Batch  BatchConfig               `mapstructure:"batch"`
	Queue  QueueConfig               `mapstructure:"queue"`
	Retry  configretry.BackOffConfig `mapstructure:"retry_on_failure"`
	Limits LimitsConfig              `mapstructure:"limits"`

	Metrics            metadata.MetricsConfig            `mapstructure:"metrics"`
	Events             metadata.EventsConfig             `mapstructure:"events"`
	ResourceAttributes metadata.ResourceAttributesConfig `mapstructure:"resource_attributes"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// PortsConfig selects local ports: numbers, or ranges such as "8000-8100". An
// empty Include selects all.
type PortsConfig struct {
	Include []any `mapstructure:"include"`
	Exclude []any `mapstructure:"exclude"`

	_ struct{}
}

// ClientsConfig selects clients by address or CIDR; the longest match decides. An
// empty Include selects all. It also names networks.
type ClientsConfig struct {
	Include []string `mapstructure:"include"`
	Exclude []string `mapstructure:"exclude"`
	// Networks group metrics of connections by client, as client.network.
	Networks []string `mapstructure:"networks"`

	_ struct{}
}

// InterfacesConfig selects interfaces for packet programs, by name or pattern (syntax of
// path.Match).
type InterfacesConfig struct {
	Include []string `mapstructure:"include"`
	Exclude []string `mapstructure:"exclude"`
	// NetworkNamespaces are paths or patterns of files, such as /run/netns/*. Packet programs
	// attach in these network namespaces, too. Sockets are observed in all.
	NetworkNamespaces []string `mapstructure:"network_namespaces"`

	_ struct{}
}

// TCConfig says how the packet vantage point attaches.
type TCConfig struct {
	// Mode is "auto", "tcx", "clsact" or "off".
	Mode string `mapstructure:"mode"`
	// Position among other programs of an interface: "first" or "last".
	Position string `mapstructure:"position"`

	_ struct{}
}

// ConnectionsConfig is about connections and attempts.
type ConnectionsConfig struct {
	// Scope selects the network namespaces whose connections are observed: "all", "host" or
	// "initial_user_namespace".
	Scope string `mapstructure:"scope"`
	// HalfOpen tracks handshakes that never complete.
	HalfOpen bool `mapstructure:"half_open"`
	// HandshakeTimeout is the age at which such a handshake has failed.
	HandshakeTimeout time.Duration `mapstructure:"handshake_timeout"`
	// UpdateInterval is the time between two tcp.server.connection.update records of an open
	// connection; 0 means that there are none.
	UpdateInterval time.Duration `mapstructure:"update_interval"`

	_ struct{}
}

// PacketsConfig selects packets for tcp.server.packet records.
type PacketsConfig struct {
	// SampleRate selects one packet in this many; 0 selects none.
	SampleRate int `mapstructure:"sample_rate"`
	// Flags selects every packet of these classes: syn, syn_ack, rst, fin, data, ack, abnormal.
	Flags []string `mapstructure:"flags"`
	// MaxPerSecond bounds what SampleRate and Flags select together.
	MaxPerSecond int `mapstructure:"max_per_second"`

	_ struct{}
}

// AttributionConfig selects what is found out about the server process.
type AttributionConfig struct {
	Process   bool `mapstructure:"process"`
	Container bool `mapstructure:"container"`
	// AcceptTracepoint observes the exits of accept(2) if fentry and kprobes are missing. They
	// tell which process of a forking server accepted a connection, and how long it waited.
	// This slows every system call of the host: docs/performance.md says how much.
	AcceptTracepoint bool `mapstructure:"accept_tracepoint"`

	_ struct{}
}

// HooksConfig is about the kernel's hooks.
type HooksConfig struct {
	// Exclude lists names or patterns (syntax of path.Match) of hooks. They are not used, as if
	// the kernel refused them. The doctor prints the names.
	Exclude []string `mapstructure:"exclude"`

	_ struct{}
}

// BatchConfig says when a batch of log records is closed: at the first limit that it reaches.
type BatchConfig struct {
	// MaxRecords above about 4,000 exceed what gRPC servers accept in one message.
	MaxRecords int           `mapstructure:"max_records"`
	MaxAge     time.Duration `mapstructure:"max_age"`

	_ struct{}
}

// QueueConfig bounds the batches that wait for the next consumer.
type QueueConfig struct {
	// MaxBytes is an estimate of their size in memory.
	MaxBytes int `mapstructure:"max_bytes"`

	_ struct{}
}

// LimitsConfig bounds memory and rates; docs/limits.md has the arithmetic.
type LimitsConfig struct {
	// Connections that can be open at one time; 0 means by the machine's memory.
	Connections int `mapstructure:"connections"`
	// RingBytes is the size of the kernel's ring buffer: a power of two, whole pages; 0
	// means by the machine's memory.
	RingBytes int `mapstructure:"ring_bytes"`
	// Listeners whose queues are followed.
	Listeners int `mapstructure:"listeners"`
	// HalfOpen is how many handshakes are tracked at one time, with connections::half_open.
	HalfOpen int `mapstructure:"half_open"`
	// PortCounters are one for each port, IP version and kind of count.
	PortCounters int `mapstructure:"port_counters"`
	// NetworkNamespaces of interfaces::network_namespaces that are followed at one time.
	NetworkNamespaces int `mapstructure:"network_namespaces"`
	// InspectedConnections are followed at one time by inspection.
	InspectedConnections int `mapstructure:"inspected_connections"`
	// InspectedBytes are taken by all inspected connections together, with what is kept of them.
	InspectedBytes int `mapstructure:"inspected_bytes"`
	// InspectRingBytes is the size of the ring buffer of payload, a power of two.
	InspectRingBytes int `mapstructure:"inspect_ring_bytes"`
	// Sources that are followed at one time, with sources::enabled.
	Sources int `mapstructure:"sources"`
	// Series per metric. Further observations go into one overflow series.
	Series int `mapstructure:"series"`
	// FailedPerSecond bounds the records of tcp.server.connection.failed. The metric of the
	// same name stays exact.
	FailedPerSecond int `mapstructure:"failed_per_second"`

	_ struct{}
}

func createDefaultConfig() *Config {
	retry := configretry.NewDefaultBackOffConfig()
	// The next consumer is in this process: it recovers sooner than a remote one.
	retry.InitialInterval = 500 * time.Millisecond
	retry.MaxInterval = 5 * time.Second
	retry.MaxElapsedTime = 30 * time.Second
	return &Config{
		CollectionInterval: 10 * time.Second,
		MetricExpiration:   5 * time.Minute,
		SeriesStartAtZero:  true,
		Histograms:         histogramsExplicit,
		OnMissing:          onMissingReport,
		Interfaces:         InterfacesConfig{Include: []string{"*"}, Exclude: []string{"lo"}},
		TC:                 TCConfig{Mode: string(probe.TCAuto), Position: positionFirst},
		Connections:        ConnectionsConfig{Scope: string(probe.ScopeAll), HandshakeTimeout: 10 * time.Second},
		Packets:            PacketsConfig{MaxPerSecond: 100},
		Inspect:            inspection.Default(),
		Sources:            sources.Default(),
		Attribution:        AttributionConfig{Process: true, Container: true},
		Batch:              BatchConfig{MaxRecords: 1000, MaxAge: 200 * time.Millisecond},
		Queue:              QueueConfig{MaxBytes: 16 << 20},
		Retry:              retry,
		Limits: LimitsConfig{
			Listeners:         16 << 10,
			HalfOpen:          16 << 10,
			PortCounters:      8 << 10,
			NetworkNamespaces: 128,
			Series:            2000,
			FailedPerSecond:   1000,

			InspectedConnections: 64 << 10,
			InspectedBytes:       96 << 20,
			InspectRingBytes:     8 << 20,
			Sources:              64 << 10,
		},
		Metrics:            metadata.DefaultMetricsConfig(),
		Events:             metadata.DefaultEventsConfig(),
		ResourceAttributes: metadata.DefaultResourceAttributesConfig(),
	}
}

// Unmarshal refuses values that the decoder would silently change, such as a fraction for a
// whole number. It implements confmap.Unmarshaler.
func (c *Config) Unmarshal(conf *confmap.Conf) error { return strict.Unmarshal(conf, c) }

func (c *Config) logsConfig() metadata.LogsBuilderConfig {
	return metadata.LogsBuilderConfig{Events: c.Events, ResourceAttributes: c.ResourceAttributes}
}

func (c *Config) metricsConfig() metadata.MetricsBuilderConfig {
	return metadata.MetricsBuilderConfig{Metrics: c.Metrics, ResourceAttributes: c.ResourceAttributes}
}
