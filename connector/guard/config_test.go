// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/schema"
)

const page = "../../docs/guard.md"

var configured = schema.Component{
	Schema: "config.schema.yaml", Page: page,
	Default:  func() schema.Config { return createDefaultConfig() },
	Optional: []string{"storage"},
	// A secret shows nothing.
	Client: "crowdsec", Empty: []string{"crowdsec::endpoint", "crowdsec::api_key"},
	Change: func(c schema.Config) { c.(*Config).Interfaces = []string{"eth0"} },
	Paired: []string{"ttl", "max_ttl"},
	Bounds: 15,
}

func TestSchemaHasTheDefaults(t *testing.T) { configured.TestDefaults(t) }

func TestSchemaBounds(t *testing.T) { configured.TestBounds(t) }

// TestFaultsNameTheirKeys: all at once.
func TestFaultsNameTheirKeys(t *testing.T) {
	configured.TestFaults(t, map[string]any{
		"mode": "block", "interfaces": []any{"eth[", ""}, "exclude_interfaces": []any{"]["}, "tc_mode": "xdp", "scope": "some",
		"rules": []any{""}, "allow": []any{"10.0.0.1/8", "host.example"}, "ttl": "2h", "max_ttl": "1h", "kill_file": "off",
	},
		`mode: "block" is unknown`, `interfaces[0]: "eth[" is neither`, `interfaces[1]: "" is neither`, `tc_mode: "xdp" is unknown`,
		`scope: "some" is unknown`, "rules[0]: is empty", "allow[0]: \"10.0.0.1/8\": has bits set beyond its length", `allow[1]: "host.example"`,
		"max_ttl: 1h0m0s is shorter than ttl, 2h0m0s", `kill_file: "off" is not an absolute path`)
	assert.ErrorContains(t, createDefaultConfig().Validate(), "interfaces: names none; write for example [eth0]")
	off := createDefaultConfig()
	off.Mode = modeOff
	assert.NoError(t, off.Validate())
}
