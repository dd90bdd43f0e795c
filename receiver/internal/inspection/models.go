// SPDX-License-Identifier: Apache-2.0

package inspection

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// OpenAIConfig is about ports where language models are served, or a gateway before them, in
// the forms of OpenAI and Anthropic.
type OpenAIConfig struct {
	// Ports are numbers, or ranges such as "8000-8100".
	Ports []any `mapstructure:"ports"`

	_ struct{}
}

const openAIPortsKey = "inspect::http::gateways::openai::ports"

// callBodies is what crosses of each call to a language model. Many clients name the model
// behind the prompt, and the counts of tokens are at the answer's end.
func callBodies() settings.Bodies {
	return settings.Bodies{Request: 64 << 10, Answer: 16 << 10, Tail: 8 << 10}
}

// settings are the ports whose bodies cross to be read.
func (c *OpenAIConfig) settings() []settings.InspectedPorts {
	var all []settings.InspectedPorts
	var ignored check.Faults
	for _, r := range check.Ports(&ignored, "", c.Ports) {
		all = append(all, settings.InspectedPorts{PortRange: r, Bodies: callBodies()})
	}
	return all
}

func (c *OpenAIConfig) view() *httpview.Ports {
	var ignored check.Faults
	return selected(check.Ports(&ignored, "", c.Ports))
}
