// SPDX-License-Identifier: Apache-2.0

package inspection

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
)

// Settings is what the kernel side gets, without limits. It adds faults of the ports to f.
func (c *Config) Settings(f *check.Faults) settings.Inspect {
	http := &c.HTTP
	inspect := settings.Inspect{HeadBytes: http.HeadBytes, IdleTimeout: http.IdleTimeout}
	for _, of := range http.ports() {
		for _, r := range check.Ports(f, of.key, of.items) {
			inspect.HTTP = append(inspect.HTTP, settings.InspectedPorts{PortRange: r})
		}
	}
	inspect.HTTP = append(inspect.HTTP, http.Gateways.OpenAI.settings()...)
	inspect.HTTP = append(inspect.HTTP, http.Bodies.settings(http.ranges())...)
	c.TLS.settings(f, &inspect)
	return inspect
}
