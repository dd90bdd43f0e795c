// SPDX-License-Identifier: Apache-2.0

package inspection

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
)

const tlsPortsKey = "inspect::tls::ports"

// TLSConfig is about ports where TLS begins, also after clear text such as STARTTLS.
type TLSConfig struct {
	// Ports are numbers, or ranges such as "8443-8450". A port can also be one of HTTP: then
	// the first byte of each connection decides.
	Ports []any `mapstructure:"ports"`

	_ struct{}
}

func (c *TLSConfig) ports() ports { return ports{tlsPortsKey, c.Ports} }

// settings adds the ports to those of the kernel side.
func (c *TLSConfig) settings(f *check.Faults, inspect *settings.Inspect) {
	inspect.TLS = check.Ports(f, tlsPortsKey, c.Ports)
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
