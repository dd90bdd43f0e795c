// SPDX-License-Identifier: Apache-2.0

// Package inspection is the configuration block inspect: its keys, its checks, and what the
// kernel side and the receiver's rooms get of it.
package inspection

import (
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
)

// Config says what is looked for inside packets. Without ports, nothing is.
type Config struct {
	HTTP HTTPConfig `mapstructure:"http"`
	TLS  TLSConfig  `mapstructure:"tls"`

	_ struct{}
}

// HTTPConfig is about ports where clear-text HTTP is spoken.
type HTTPConfig struct {
	// Ports are numbers, or ranges such as "8000-8100".
	Ports []any `mapstructure:"ports"`
	// HeadBytes bounds the head of a request or an answer. Fields beyond it are left out.
	HeadBytes int `mapstructure:"head_bytes"`
	// Methods are the known ones. If empty, they are the semantic conventions'.
	Methods []string `mapstructure:"methods"`
	// IdleTimeout is how long a request may wait for an answer without any byte.
	IdleTimeout time.Duration `mapstructure:"idle_timeout"`
	// RequestHeaders and ResponseHeaders are names of header fields that records have. A name
	// may end with *.
	RequestHeaders  []string `mapstructure:"request_headers"`
	ResponseHeaders []string `mapstructure:"response_headers"`
	// TrustedProxies are addresses or CIDRs whose word about their clients is believed.
	TrustedProxies []string `mapstructure:"trusted_proxies"`
	// Gateways says where API gateways listen.
	Gateways GatewaysConfig `mapstructure:"gateways"`
	// GRPC is about calls of gRPC.
	GRPC GRPCConfig `mapstructure:"grpc"`
	// Bodies says which bodies records have.
	Bodies BodiesConfig `mapstructure:"bodies"`
	// Routes says how http.route is found.
	Routes RoutesConfig `mapstructure:"routes"`
	// Select says which requests become records. Metrics count all.
	Select SelectConfig `mapstructure:"select"`
	// Redact says what is hidden.
	Redact RedactConfig `mapstructure:"redact"`

	_ struct{}
}

// SelectConfig selects requests for records. One reason is enough.
type SelectConfig struct {
	// SampleRate selects one request in this many; 0 selects none.
	SampleRate int `mapstructure:"sample_rate"`
	// MinDuration selects requests that take at least as long; 0 selects none.
	MinDuration time.Duration `mapstructure:"min_duration"`
	// Statuses selects answers such as "404" or "5xx", and of gRPC such as "UNAVAILABLE".
	Statuses []string `mapstructure:"statuses"`
	// Problems selects requests that were not answered or could not be parsed.
	Problems bool `mapstructure:"problems"`

	_ struct{}
}

// RedactConfig says what is hidden beyond what always is.
type RedactConfig struct {
	// AllowHeaders and AllowQuery are names whose values are not hidden.
	AllowHeaders []string `mapstructure:"allow_headers"`
	AllowQuery   []string `mapstructure:"allow_query"`
	// Patterns are regular expressions (RE2). What they match is hidden in paths, header
	// values and bodies.
	Patterns []string `mapstructure:"patterns"`

	_ struct{}
}

// Default inspects nothing.
func Default() Config {
	return Config{
		HTTP: HTTPConfig{
			HeadBytes:   8 << 10,
			IdleTimeout: time.Minute,
			Gateways:    GatewaysConfig{Kong: KongConfig{UpstreamRequests: defaultUpstreamRequests}},
			Bodies:      defaultBodies(),
			Routes:      defaultRoutes(),
			Select:      SelectConfig{SampleRate: 1, Problems: true},
		},
		TLS: TLSConfig{IdleTimeout: time.Minute},
	}
}

// On reports whether anything is inspected.
func (c *Config) On() bool {
	for _, of := range c.ports() {
		if len(of.items) > 0 {
			return true
		}
	}
	return false
}

// ports are all that are inspected.
func (c *Config) ports() []ports { return append(c.HTTP.ports(), c.TLS.ports()) }

// ports are those of a key of the configuration.
type ports struct {
	key   string
	items []any
}

// ranges are all that are inspected, without those that can't be parsed.
func (c *HTTPConfig) ranges() []probe.PortRange {
	var all []probe.PortRange
	var ignored check.Faults
	for _, of := range c.ports() {
		all = append(all, check.Ports(&ignored, "", of.items)...)
	}
	return all
}

// ports are those where HTTP is spoken.
func (c *HTTPConfig) ports() []ports {
	return []ports{{portsKey, c.Ports}, {kongPortsKey, c.Gateways.Kong.Ports}, {openAIPortsKey, c.Gateways.OpenAI.Ports}}
}
