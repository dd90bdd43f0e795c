// SPDX-License-Identifier: Apache-2.0

// Package inspection is the configuration block inspect: its keys, its checks, and what the
// kernel side and the receiver's rooms get of it.
package inspection

import "time"

// Config says what is looked for inside packets. Without ports, nothing is.
type Config struct {
	HTTP HTTPConfig `mapstructure:"http"`

	_ struct{}
}

// HTTPConfig is about ports where clear-text HTTP/1.x is spoken.
type HTTPConfig struct {
	// Ports are numbers, or ranges such as "8000-8100".
	Ports []any `mapstructure:"ports"`
	// Gateways are ports with further knowledge. They need not be in Ports, too.
	Gateways GatewaysConfig `mapstructure:"gateways"`
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
	// Routes say how http.route is found.
	Routes RoutesConfig `mapstructure:"routes"`
	// TrustedProxies are addresses or CIDRs whose word about their clients is believed.
	TrustedProxies []string `mapstructure:"trusted_proxies"`
	// Select says which requests become records. Metrics count all.
	Select SelectConfig `mapstructure:"select"`
	// Payload says which bodies records have.
	Payload PayloadConfig `mapstructure:"payload"`
	// Redact says what is hidden.
	Redact RedactConfig `mapstructure:"redact"`

	_ struct{}
}

// GatewaysConfig is what is known about the software behind some ports.
type GatewaysConfig struct {
	Kong   KongConfig   `mapstructure:"kong"`
	OpenAI OpenAIConfig `mapstructure:"openai"`

	_ struct{}
}

// KongConfig is about ports of Kong's proxy.
type KongConfig struct {
	Ports []any `mapstructure:"ports"`

	_ struct{}
}

// OpenAIConfig is about ports of servers of language models.
type OpenAIConfig struct {
	Ports []any `mapstructure:"ports"`
	// RequestBytes and ResponseBytes bound what is read of bodies to find the model and the
	// number of tokens. Of an answer in a stream, they are its last ones.
	RequestBytes  int `mapstructure:"request_bytes"`
	ResponseBytes int `mapstructure:"response_bytes"`

	_ struct{}
}

// RoutesConfig says how http.route is found.
type RoutesConfig struct {
	// Patterns are such as /users/{id} or /static/{path...}.
	Patterns []string `mapstructure:"patterns"`
	// Automatic learns templates of other paths.
	Automatic bool `mapstructure:"automatic"`

	_ struct{}
}

// SelectConfig selects requests for records. One reason is enough.
type SelectConfig struct {
	// SampleRate selects one request in this many; 0 selects none.
	SampleRate int `mapstructure:"sample_rate"`
	// MinDuration selects requests that take at least as long; 0 selects none.
	MinDuration time.Duration `mapstructure:"min_duration"`
	// Statuses selects answers such as "404" or "5xx".
	Statuses []string `mapstructure:"statuses"`
	// Problems selects requests that were not answered or could not be parsed.
	Problems bool `mapstructure:"problems"`

	_ struct{}
}

// PayloadConfig says which bodies records have.
type PayloadConfig struct {
	// RequestBytes and ResponseBytes bound what a record has of bodies; 0 is nothing.
	RequestBytes  int `mapstructure:"request_bytes"`
	ResponseBytes int `mapstructure:"response_bytes"`
	// ContentTypes are such as application/json, text/* or application/*+json.
	ContentTypes []string `mapstructure:"content_types"`
	// Format is "raw", "hex", "structured" or "xml".
	Format string `mapstructure:"format"`

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

// Values of PayloadConfig.Format.
const (
	FormatRaw        = "raw"
	FormatHex        = "hex"
	FormatStructured = "structured"
	FormatXML        = "xml"
)

// Default inspects nothing.
func Default() Config {
	return Config{HTTP: HTTPConfig{
		HeadBytes:   8 << 10,
		IdleTimeout: time.Minute,
		Gateways:    GatewaysConfig{OpenAI: OpenAIConfig{RequestBytes: 64 << 10, ResponseBytes: 64 << 10}},
		Select:      SelectConfig{SampleRate: 1, Problems: true},
		Payload:     PayloadConfig{ContentTypes: []string{"application/json", "application/*+json"}, Format: FormatRaw},
	}}
}

// On reports whether anything is inspected.
func (c *Config) On() bool {
	http := &c.HTTP
	return len(http.Ports)+len(http.Gateways.Kong.Ports)+len(http.Gateways.OpenAI.Ports) > 0
}
