// SPDX-License-Identifier: Apache-2.0

package inspection

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
)

// Settings is what the kernel side gets, without limits. It adds faults of the ports to f.
func (c *Config) Settings(f *check.Faults) settings.Inspect {
	http := &c.HTTP
	bodies := settings.Bodies{Request: http.Payload.RequestBytes, Answer: http.Payload.ResponseBytes}
	inspect := settings.Inspect{HeadBytes: http.HeadBytes, IdleTimeout: http.IdleTimeout, Methods: http.Methods}
	add := func(key string, items []any, bodies settings.Bodies) {
		for _, r := range check.Ports(f, key, items) {
			inspect.HTTP = append(inspect.HTTP, settings.InspectedPorts{PortRange: r, Bodies: bodies})
		}
	}
	openai := &http.Gateways.OpenAI
	add("inspect::http::ports", http.Ports, bodies)
	add("inspect::http::gateways::kong::ports", http.Gateways.Kong.Ports, bodies)
	add("inspect::http::gateways::openai::ports", openai.Ports, settings.Bodies{
		Request: max(bodies.Request, openai.RequestBytes),
		Answer:  max(bodies.Answer, openai.ResponseBytes),
		Tail:    openai.ResponseBytes,
	})
	return inspect
}
