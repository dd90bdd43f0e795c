// SPDX-License-Identifier: Apache-2.0

package inspection

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// GatewaysConfig says where gateways listen. Their ports are inspected.
type GatewaysConfig struct {
	Kong   KongConfig   `mapstructure:"kong"`
	OpenAI OpenAIConfig `mapstructure:"openai"`

	_ struct{}
}

// KongConfig is about ports where Kong listens.
type KongConfig struct {
	// Ports are numbers, or ranges such as "8000-8100".
	Ports []any `mapstructure:"ports"`
	// UpstreamRequests is how many upstream requests can wait for the gateway's request that
	// they belong to.
	UpstreamRequests int `mapstructure:"upstream_requests"`

	_ struct{}
}

const (
	kongPortsKey                             = "inspect::http::gateways::kong::ports"
	minUpstreamRequests, maxUpstreamRequests = 1, 1 << 20
	defaultUpstreamRequests                  = 8192
)

func (c *GatewaysConfig) validate(f *check.Faults) {
	check.InRange(f, "inspect::http::gateways::kong::upstream_requests", c.Kong.UpstreamRequests, minUpstreamRequests, maxUpstreamRequests)
}

// view trusts ports that only Settings checks.
func (c *GatewaysConfig) view() httpview.Gateways {
	var ignored check.Faults
	return httpview.Gateways{
		Kong:     selected(check.Ports(&ignored, "", c.Kong.Ports)),
		Upstream: c.Kong.UpstreamRequests,
	}
}

// selected marks the ports of ranges; nil without any.
func selected(ranges []probe.PortRange) *httpview.Ports {
	if len(ranges) == 0 {
		return nil
	}
	return portsOf(ranges)
}

func portsOf(ranges []probe.PortRange) *httpview.Ports {
	ports := new(httpview.Ports)
	for _, r := range ranges {
		for port := int(r.First); port <= int(r.Last); port++ {
			ports[port] = true
		}
	}
	return ports
}
