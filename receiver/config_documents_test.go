// SPDX-License-Identifier: Apache-2.0

package receiver

import (
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

// defaults are the Go defaults as a tree of plain values, durations as Go writes them.
func defaults(t *testing.T) map[string]any {
	t.Helper()
	return tree(t, createDefaultConfig())
}

func tree(t *testing.T, cfg *Config) map[string]any {
	t.Helper()
	conf := confmap.New()
	require.NoError(t, conf.Marshal(cfg))
	return plain(conf.ToStringMap()).(map[string]any)
}

// plain makes values of different sources comparable.
func plain(value any) any {
	switch v := value.(type) {
	case map[string]any:
		tree := make(map[string]any, len(v))
		for key, item := range v {
			tree[key] = plain(item)
		}
		return tree
	case nil:
		return []any{}
	case []any:
		list := make([]any, 0, len(v))
		for _, item := range v {
			list = append(list, plain(item))
		}
		return list
	case int:
		return float64(v)
	case time.Duration:
		return v.String()
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return d.String()
		}
		return v
	default:
		return v
	}
}

type schema struct {
	Default    any                `yaml:"default"`
	Properties map[string]*schema `yaml:"properties"`
	Minimum    *float64           `yaml:"minimum"`
	Maximum    *float64           `yaml:"maximum"`
	Shortest   *time.Duration     `yaml:"x-minimum"`
	Longest    *time.Duration     `yaml:"x-maximum"`
	Enum       []string           `yaml:"enum"`
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

// values returns the tree of defaults that a schema declares.
func (s *schema) values(t *testing.T, path string) any {
	if s.Properties == nil {
		return plain(s.Default)
	}
	if assert.NotNil(t, s.Additional, "%s: additionalProperties", path) {
		assert.False(t, *s.Additional, "%s: additionalProperties", path)
	}
	tree := make(map[string]any, len(s.Properties))
	for key, property := range s.Properties {
		tree[key] = property.values(t, path+"/"+key)
	}
	return tree
}

// leaves calls visit for every property without properties.
func (s *schema) leaves(path []string, visit func([]string, *schema)) {
	if s.Properties == nil {
		visit(path, s)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
		s.Properties[key].leaves(append(slices.Clip(path), key), visit)
	}
}

func TestSchemaHasTheDefaults(t *testing.T) {
	assert.Equal(t, defaults(t), loadSchema(t).values(t, ""))
}

func TestDocumentHasTheDefaults(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	require.NoError(t, err)
	_, block, found := strings.Cut(string(text), "```yaml\nebpf_tcp:\n")
	require.True(t, found, "docs/configuration.md has a yaml block that begins with ebpf_tcp:")
	block, table, _ := strings.Cut(block, "```")
	var documented map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(block), &documented))

	want := defaults(t)
	// receiver/documentation.md lists what these switch.
	switches := []string{"events", "metrics", "resource_attributes"}
	for _, section := range switches {
		delete(want, section)
	}
	assert.Equal(t, want, plain(documented))

	loadSchema(t).leaves(nil, func(path []string, _ *schema) {
		if !slices.Contains(switches, path[0]) {
			assert.Contains(t, table, "\n| `"+strings.Join(path, ".")+"` |")
		}
	})
}

// TestSchemaBounds sets every value to the bounds of the schema, and beyond.
func TestSchemaBounds(t *testing.T) {
	validate := func(path []string, value any) error {
		for _, key := range slices.Backward(path) {
			value = map[string]any{key: value}
		}
		cfg := createDefaultConfig()
		require.NoError(t, confmap.NewFromStringMap(value.(map[string]any)).Unmarshal(cfg))
		return confmap.Validate(cfg)
	}
	number := func(s *schema, n float64) any {
		if s.Type == "integer" {
			return int(n)
		}
		return n
	}
	bounds := 0
	loadSchema(t).leaves(nil, func(path []string, s *schema) {
		name := strings.Join(path, "::")
		if s.Minimum != nil {
			low := *s.Minimum
			if name == "limits::ring_bytes" {
				page := float64(os.Getpagesize())
				assert.NoError(t, validate(path, number(s, page)), name)
				assert.ErrorContains(t, validate(path, number(s, page/2)), name, name)
			}
			assert.NoError(t, validate(path, number(s, low)), name)
			assert.ErrorContains(t, validate(path, number(s, low-1)), path[0], name)
			bounds++
		}
		if s.Maximum != nil {
			assert.NoError(t, validate(path, number(s, *s.Maximum)), name)
			assert.ErrorContains(t, validate(path, number(s, *s.Maximum+1)), path[0], name)
			bounds++
		}
		if strings.HasSuffix(s.Ref, "/duration") {
			require.NotNil(t, s.Shortest, name)
			require.NotNil(t, s.Longest, name)
			for _, end := range []time.Duration{*s.Shortest, *s.Longest} {
				// Some durations are also compared with others.
				if err := validate(path, end.String()); err != nil && name != "metric_expiration" && name != "collection_interval" {
					assert.NotContains(t, err.Error(), "out of range", name)
				}
			}
			assert.ErrorContains(t, validate(path, (*s.Shortest-time.Nanosecond).String()), path[0], name)
			assert.ErrorContains(t, validate(path, (*s.Longest+time.Nanosecond).String()), path[0], name)
			bounds += 2
		}
		for _, allowed := range s.Enum {
			assert.NoError(t, validate(path, allowed), name)
		}
		if s.Enum != nil {
			assert.ErrorContains(t, validate(path, "nonsense"), name, name)
			bounds++
		}
	})
	assert.Greater(t, bounds, 15)
}
