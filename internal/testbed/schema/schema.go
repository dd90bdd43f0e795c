// SPDX-License-Identifier: Apache-2.0

// Package schema holds the defaults and the checks of a component's configuration, its
// config.schema.yaml and the table of its keys to each other, for tests.
package schema

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
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.yaml.in/yaml/v3"
)

// Component is what is compared.
type Component struct {
	// Schema and Page are files. The page has a table row for each key.
	Schema, Page string
	// Default makes the configuration that a user changes.
	Default func() Config
	// Optional keys have no default.
	Optional []string
	// Client is the key with the settings of the Collector's HTTP client, which have their own
	// documentation. Empty are those of them that the schema has, and that are empty.
	Client string
	Empty  []string
	// Change comes before the bounds of a key are tried; it may be nil. Paired keys are compared
	// with others, too, so that their bounds may be refused for that.
	Change func(Config)
	Paired []string
	// Bounds is how many there are at least.
	Bounds int
}

// Config is a configuration.
type Config interface{ Validate() error }

type node struct {
	Default    any              `yaml:"default"`
	Properties map[string]*node `yaml:"properties"`
	Minimum    *float64         `yaml:"minimum"`
	Maximum    *float64         `yaml:"maximum"`
	Shortest   *time.Duration   `yaml:"x-minimum"`
	Longest    *time.Duration   `yaml:"x-maximum"`
	Type       any              `yaml:"type"`
	Ref        string           `yaml:"$ref"`
}

func (c *Component) load(t *testing.T) *node {
	t.Helper()
	text, err := os.ReadFile(c.Schema)
	require.NoError(t, err)
	var n node
	require.NoError(t, yaml.Unmarshal(text, &n))
	return &n
}

// leaves calls visit for every key without keys below.
func (n *node) leaves(path []string, visit func([]string, *node)) {
	if n.Properties == nil {
		visit(path, n)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(n.Properties)) {
		n.Properties[key].leaves(append(slices.Clip(path), key), visit)
	}
}

// flat are the leaves of the Go defaults, by their path.
func (c *Component) flat(t *testing.T) map[string]any {
	t.Helper()
	conf := confmap.New()
	require.NoError(t, conf.Marshal(c.Default()))
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
	case component.ID:
		return v.String()
	}
	return value
}

// TestDefaults compares the defaults, and looks for each key in the page.
func (c *Component) TestDefaults(t *testing.T) {
	text, err := os.ReadFile(c.Page)
	require.NoError(t, err)
	want, got := c.flat(t), map[string]any{}
	c.load(t).leaves(nil, func(path []string, n *node) {
		assert.Contains(t, string(text), "\n| `"+strings.Join(path, ".")+"` |")
		got[strings.Join(path, "::")] = comparable(n.Default)
	})
	for _, key := range c.Optional {
		delete(want, key)
		delete(got, key)
	}
	for _, key := range c.Empty {
		want[key] = ""
	}
	maps.DeleteFunc(want, func(key string, _ any) bool {
		_, ours := got[key]
		return c.Client != "" && strings.HasPrefix(key, c.Client+"::") && !ours
	})
	assert.Equal(t, want, got)
}

func (c *Component) validate(t *testing.T, path []string, value any) error {
	t.Helper()
	for _, key := range slices.Backward(path) {
		value = map[string]any{key: value}
	}
	cfg := c.Default()
	if c.Change != nil {
		c.Change(cfg)
	}
	require.NoError(t, confmap.NewFromStringMap(value.(map[string]any)).Unmarshal(cfg))
	return cfg.Validate()
}

// TestBounds sets every value to the bounds of the schema, and beyond.
func (c *Component) TestBounds(t *testing.T) {
	bounds := 0
	check := func(path []string, allowed, refused any) {
		name := strings.Join(path, "::")
		if err := c.validate(t, path, allowed); err != nil && !slices.Contains(c.Paired, name) {
			assert.NoError(t, err, name)
		}
		assert.ErrorContains(t, c.validate(t, path, refused), name+": ", name)
		bounds++
	}
	c.load(t).leaves(nil, func(path []string, n *node) {
		number := func(value float64) any {
			if n.Type == "integer" {
				return int(value)
			}
			return value
		}
		if n.Minimum != nil {
			check(path, number(*n.Minimum), number(*n.Minimum-1))
			check(path, number(*n.Maximum), number(*n.Maximum+1))
		}
		if strings.HasSuffix(n.Ref, "/duration") {
			check(path, n.Shortest.String(), (*n.Shortest - time.Nanosecond).String())
			check(path, n.Longest.String(), (*n.Longest + time.Nanosecond).String())
		}
	})
	assert.Greater(t, bounds, c.Bounds)
}

// TestFaults checks that settings have all these faults.
func (c *Component) TestFaults(t *testing.T, settings map[string]any, faults ...string) {
	cfg := c.Default()
	require.NoError(t, confmap.NewFromStringMap(settings).Unmarshal(cfg))
	err := cfg.Validate()
	for _, text := range faults {
		assert.ErrorContains(t, err, text)
	}
}

// TestRefused checks that texts are refused, each with an error, because decoding would change them.
func (c *Component) TestRefused(t *testing.T, errors map[string]string) {
	for text, want := range errors {
		retrieved, err := confmap.NewRetrievedFromYAML([]byte(text))
		require.NoError(t, err)
		conf, err := retrieved.AsConf()
		require.NoError(t, err)
		assert.ErrorContains(t, conf.Unmarshal(c.Default()), want, text)
	}
}
