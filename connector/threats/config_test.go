// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"testing"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/schema"
)

var configured = schema.Component{
	Schema: "config.schema.yaml", Page: page,
	Default:  func() schema.Config { return createDefaultConfig() },
	Optional: []string{"storage"},
	Client:   "model", Empty: []string{"model::endpoint"},
	Paired: []string{
		"rules::port_scan::client_success", "rules::port_scan::scanner_success", "rules::login_guessing::min_bytes", "rules::login_guessing::max_bytes",
	},
	Bounds: 60,
}

func TestSchemaHasTheDefaults(t *testing.T) { configured.TestDefaults(t) }

func TestSchemaBounds(t *testing.T) { configured.TestBounds(t) }

// TestFaultsNameTheirKeys: all at once.
func TestFaultsNameTheirKeys(t *testing.T) {
	configured.TestFaults(t, map[string]any{
		"except": []any{"10.0.0.1/8"}, "max_findings": 0,
		"rules": map[string]any{
			"port_scan":      map[string]any{"except": []any{"nobody"}, "client_success": 0.1},
			"login_guessing": map[string]any{"ports": []any{0}, "max_bytes": 1},
		},
	},
		"except[0]: \"10.0.0.1/8\": has bits set beyond its length; did you mean 10.0.0.0/8?",
		"max_findings: 0 is out of range, allowed are 1 to 1000000",
		"rules::port_scan::except[0]: \"nobody\"", "rules::port_scan::scanner_success: 0.2 is not less than client_success (0.1)",
		"rules::login_guessing::ports[0]: 0 is out of range", "rules::login_guessing::max_bytes: 1 is less than min_bytes (600)")
}

func TestValuesThatWouldBeChangedAreRefused(t *testing.T) {
	configured.TestRefused(t, map[string]string{
		"end_after: 10":                           "end_after: 10 has no unit",
		"max_findings: 1.5":                       "max_findings: 1.5 is not a whole number",
		"except: 10.0.0.0/8":                      "except: \"10.0.0.0/8\" is not a list",
		"rules: {port_scan: {enabled: maybe}}":    "rules::port_scan::enabled: \"maybe\" is neither true nor false",
		"rules: {port_scna: {enabled: true}}":     "port_scna",
		"rules: {slow_hold: {min_answered: all}}": "rules::slow_hold::min_answered: \"all\" is not a number",
	})
}
