// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/schema"
)

// configured is what the page adds to the server's configuration.
var configured = schema.Component{
	Schema: "config.schema.yaml", Page: "../../docs/view.md",
	Default: func() schema.Config { return &createDefaultConfig().Page },
	Bounds:  1,
}

func TestSchemaHasTheDefaults(t *testing.T) { configured.TestDefaults(t) }

func TestSchemaBounds(t *testing.T) { configured.TestBounds(t) }

func TestConfig(t *testing.T) {
	for name, of := range map[string]struct {
		conf map[string]any
		want string
	}{
		"defaults":              {nil, ""},
		"IPv6 loopback":         {map[string]any{"endpoint": "[::1]:1234"}, ""},
		"mapped loopback":       {map[string]any{"endpoint": "[::ffff:127.0.0.1]:1234"}, ""},
		"all addresses":         {map[string]any{"endpoint": "0.0.0.0:9466"}, "endpoint: other hosts reach 0.0.0.0:9466"},
		"no address":            {map[string]any{"endpoint": ":9466"}, "endpoint: other hosts reach :9466"},
		"a name":                {map[string]any{"endpoint": "web-1:9466"}, "set auth, or listen at localhost"},
		"no port":               {map[string]any{"endpoint": "localhost"}, "endpoint: address localhost: missing port"},
		"others, with auth":     {map[string]any{"endpoint": "0.0.0.0:9466", "auth": map[string]any{"authenticator": "basicauth"}}, ""},
		"unix socket":           {map[string]any{"endpoint": "/run/x.sock", "transport": "unix"}, ""},
		"no viewers":            {map[string]any{"max_viewers": 0}, "max_viewers: 0 is not from 1 to 1000"},
		"too many viewers":      {map[string]any{"max_viewers": 1001}, "max_viewers: 1001 is not from 1 to 1000"},
		"a fraction":            {map[string]any{"max_viewers": 1.5}, "max_viewers"},
		"a key that is not one": {map[string]any{"viewers": 3}, "viewers"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := createDefaultConfig()
			err := confmap.NewFromStringMap(of.conf).Unmarshal(cfg)
			if err == nil {
				err = errors.Join(cfg.Validate(), cfg.Page.Validate())
			}
			if of.want == "" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Contains(t, err.Error(), of.want)
		})
	}
}
