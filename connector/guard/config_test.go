// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.yaml.in/yaml/v3"
)

const page = "../../docs/guard.md"

type schema struct {
	Default    any                `yaml:"default"`
	Properties map[string]*schema `yaml:"properties"`
	Minimum    *float64           `yaml:"minimum"`
	Maximum    *float64           `yaml:"maximum"`
	Shortest   *time.Duration     `yaml:"x-minimum"`
	Longest    *time.Duration     `yaml:"x-maximum"`
	Type       any                `yaml:"type"`
	Ref        string             `yaml:"$ref"`
	Additional *bool              `yaml:"additionalProperties"`
}

func loadSchema(t *testing.T) *schema {
	t.Helper()
	text, err := os.ReadFile("config.schema.yaml")
	require.NoError(t, err)
	var s schema
	require.NoError(t, yaml.Unmarshal(text, &s))
	return &s
}

// leaves calls visit for every key without keys below.
func (s *schema) leaves(path []string, visit func([]string, *schema)) {
	if s.Properties == nil {
		visit(path, s)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
		s.Properties[key].leaves(append(slices.Clip(path), key), visit)
	}
}

// flat are the leaves of the Go defaults, by their path.
func flat(t *testing.T) map[string]any {
	t.Helper()
	conf := confmap.New()
	require.NoError(t, conf.Marshal(createDefaultConfig()))
	all := map[string]any{}
	var walk func(string, any)
	walk = func(path string, value any) {
		if tree, ok := value.(map[string]any); ok {
			for key, below := range tree {
				walk(strings.TrimPrefix(path+"::"+key, "::"), below)
			}
			return
		}
		all[path] = comparable(value)
	}
	walk("", conf.ToStringMap())
	return all
}

// comparable makes values of Go and of YAML the same.
func comparable(value any) any {
	switch v := value.(type) {
	case time.Duration:
		return v.String()
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return d.String()
		}
		return v
	case int:
		return float64(v)
	case nil:
		return "[]"
	case []any, []string, []int:
		return fmt.Sprint(v)
	}
	return value
}

func TestSchemaHasTheDefaults(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	want := flat(t)
	delete(want, "storage")
	got := map[string]any{}
	loadSchema(t).leaves(nil, func(path []string, s *schema) {
		assert.Contains(t, string(text), "\n| `"+strings.Join(path, ".")+"` |")
		if name := strings.Join(path, "::"); name != "storage" {
			got[name] = comparable(s.Default)
		}
	})
	// The keys of the Collector's HTTP client have their own documentation, and it leaves out what
	// is empty. A secret shows nothing.
	want["crowdsec::endpoint"], want["crowdsec::api_key"] = "", ""
	maps.DeleteFunc(want, func(key string, _ any) bool {
		_, ours := got[key]
		return strings.HasPrefix(key, "crowdsec::") && !ours
	})
	assert.Equal(t, want, got)
}

func validate(t *testing.T, path []string, value any) error {
	t.Helper()
	for _, key := range slices.Backward(path) {
		value = map[string]any{key: value}
	}
	cfg := createDefaultConfig()
	cfg.Interfaces = []string{"eth0"}
	require.NoError(t, confmap.NewFromStringMap(value.(map[string]any)).Unmarshal(cfg))
	return cfg.Validate()
}

// TestSchemaBounds sets every value to the bounds of the schema, and beyond.
func TestSchemaBounds(t *testing.T) {
	// These are also compared with each other.
	paired := []string{"ttl", "max_ttl"}
	bounds := 0
	check := func(path []string, allowed, refused any) {
		name := strings.Join(path, "::")
		if err := validate(t, path, allowed); err != nil && !slices.Contains(paired, name) {
			assert.NoError(t, err, name)
		}
		assert.ErrorContains(t, validate(t, path, refused), name+": ", name)
		bounds++
	}
	loadSchema(t).leaves(nil, func(path []string, s *schema) {
		number := func(n float64) any {
			if s.Type == "integer" {
				return int(n)
			}
			return n
		}
		if s.Minimum != nil {
			check(path, number(*s.Minimum), number(*s.Minimum-1))
			check(path, number(*s.Maximum), number(*s.Maximum+1))
		}
		if strings.HasSuffix(s.Ref, "/duration") {
			check(path, s.Shortest.String(), (*s.Shortest - time.Nanosecond).String())
			check(path, s.Longest.String(), (*s.Longest + time.Nanosecond).String())
		}
	})
	assert.Greater(t, bounds, 15)
}

// TestFaultsNameTheirKeys: all at once.
func TestFaultsNameTheirKeys(t *testing.T) {
	cfg := createDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"mode": "block", "interfaces": []any{"eth[", ""}, "exclude_interfaces": []any{"]["}, "tc_mode": "xdp", "scope": "some",
		"rules": []any{""}, "allow": []any{"10.0.0.1/8", "host.example"}, "ttl": "2h", "max_ttl": "1h", "kill_file": "off",
	}).Unmarshal(cfg))
	err := cfg.Validate()
	for _, text := range []string{
		`mode: "block" is unknown`, `interfaces[0]: "eth[" is neither`, `interfaces[1]: "" is neither`, `tc_mode: "xdp" is unknown`,
		`scope: "some" is unknown`, "rules[0]: is empty", "allow[0]: \"10.0.0.1/8\": has bits set beyond its length", `allow[1]: "host.example"`,
		"max_ttl: 1h0m0s is shorter than ttl, 2h0m0s", `kill_file: "off" is not an absolute path`,
	} {
		assert.ErrorContains(t, err, text)
	}
	assert.ErrorContains(t, createDefaultConfig().Validate(), "interfaces: names none; write for example [eth0]")
	off := createDefaultConfig()
	off.Mode = modeOff
	assert.NoError(t, off.Validate())
}
