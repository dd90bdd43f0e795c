// SPDX-License-Identifier: Apache-2.0

package inspection

import (
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/forwarded"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/tlsview"
)

const tlsPortsKey = "inspect::tls::ports"

// TLSConfig is about ports where TLS begins, also after clear text such as STARTTLS.
type TLSConfig struct {
	// Ports are numbers, or ranges such as "8443-8450". A port can also be one of HTTP: then
	// the first byte of each connection decides.
	Ports []any `mapstructure:"ports"`
	// IdleTimeout is how long either side may say nothing before a handshake counts as given up.
	IdleTimeout time.Duration `mapstructure:"idle_timeout"`
	// TrustedProxies are addresses or CIDRs whose headers of the PROXY protocol are believed.
	TrustedProxies []string `mapstructure:"trusted_proxies"`
	// Redact says what is hidden.
	Redact TLSRedactConfig `mapstructure:"redact"`

	_ struct{}
}

// TLSRedactConfig says what of a hello is hidden.
type TLSRedactConfig struct {
	// Patterns are regular expressions (RE2). What they match is hidden in names of servers and
	// of protocols.
	Patterns []string `mapstructure:"patterns"`

	_ struct{}
}

func (c *TLSConfig) ports() ports { return ports{tlsPortsKey, c.Ports} }

// settings adds the ports to those of the kernel side.
func (c *TLSConfig) settings(f *check.Faults, inspect *settings.Inspect) {
	inspect.TLS = check.Ports(f, tlsPortsKey, c.Ports)
	inspect.TLSIdleTimeout = c.IdleTimeout
}

// validate reports values that can't be used.
func (c *TLSConfig) validate(f *check.Faults) {
	check.InRange(f, "inspect::tls::idle_timeout", c.IdleTimeout, minIdle, maxIdle)
	c.View(f)
}

// View is what records show of handshakes.
func (c *TLSConfig) View(f *check.Faults) tlsview.Options {
	var options tlsview.Options
	var err error
	if options.Trust, err = forwarded.NewTrust(c.TrustedProxies); err != nil {
		f.Add("inspect::tls::trusted_proxies", "%w", err)
	}
	if len(c.Redact.Patterns) == 0 {
		return options
	}
	if options.Redact, err = privacy.New(privacy.Options{Patterns: c.Redact.Patterns}); err != nil {
		addEach(f, "inspect::tls::redact", err)
	}
	return options
}

// Key is the configuration's key of the first ports that are inspected.
func (c *Config) Key() string {
	for _, of := range c.ports() {
		if len(of.items) > 0 {
			return of.key
		}
	}
	return ""
}
