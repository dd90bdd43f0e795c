// SPDX-License-Identifier: Apache-2.0

package facttest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.yaml.in/yaml/v3"
)

// Declaration is the part of metadata.yaml that tests compare with.
type Declaration struct {
	ScopeName          string               `yaml:"scope_name"`
	ResourceAttributes map[string]Attribute `yaml:"resource_attributes"`
	Attributes         map[string]Attribute `yaml:"attributes"`
	Events             map[string]struct {
		Attributes []string `yaml:"attributes"`
	} `yaml:"events"`
	Metrics map[string]Metric `yaml:"metrics"`
}

// Attribute is a declared one.
type Attribute struct {
	Name  string   `yaml:"name_override"`
	Type  string   `yaml:"type"`
	Enum  []string `yaml:"enum"`
	Level string   `yaml:"requirement_level"`
}

// Metric is a declared one.
type Metric struct {
	Description string   `yaml:"description"`
	Unit        string   `yaml:"unit"`
	Attributes  []string `yaml:"attributes"`
	Sum         *struct {
		Monotonic bool `yaml:"monotonic"`
	} `yaml:"sum"`
	Histogram *struct{} `yaml:"histogram"`
}

// Declared reads the metadata.yaml of the component that the test is in.
func Declared(t *testing.T) *Declaration {
	t.Helper()
	file := "metadata.yaml"
	for ; ; file = filepath.Join("..", file) {
		if _, err := os.Stat(file); err == nil {
			break
		}
	}
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var d Declaration
	require.NoError(t, yaml.Unmarshal(data, &d))
	return &d
}

// Names returns attributes by their name as emitted.
func (d *Declaration) Names(keys []string) map[string]Attribute {
	all := map[string]Attribute{}
	for _, key := range keys {
		attribute := d.Attributes[key]
		if attribute.Name == "" {
			attribute.Name = key
		}
		all[attribute.Name] = attribute
	}
	return all
}

// Emitted gathers the attributes of records, or of data points, by their event or metric.
type Emitted map[string]map[string]struct{}

// Add checks the attributes of one record or data point.
func (e Emitted) Add(t *testing.T, name string, attributes pcommon.Map, allowed map[string]Attribute) {
	t.Helper()
	if e[name] == nil {
		e[name] = map[string]struct{}{}
	}
	for key, value := range attributes.All() {
		key = withoutField(key)
		e[name][key] = struct{}{}
		attribute, ok := allowed[key]
		require.True(t, ok, "%s emits %s, which is not declared", name, key)
		require.Equal(t, attribute.Type, typeName(value.Type()), "%s of %s", key, name)
		if len(attribute.Enum) > 0 {
			require.Contains(t, attribute.Enum, value.AsString(), "%s of %s", key, name)
		}
	}
	for key, attribute := range allowed {
		_, present := attributes.Get(key)
		require.False(t, attribute.Level == "required" && !present && attributes.Len() > 1,
			"%s lacks %s, which is required", name, key)
	}
}

// withoutField returns the declared name of an attribute whose name ends with that of a header
// field.
func withoutField(key string) string {
	for _, template := range []string{"http.request.header", "http.response.header"} {
		if strings.HasPrefix(key, template+".") {
			return template
		}
	}
	return key
}

func typeName(t pcommon.ValueType) string {
	return map[pcommon.ValueType]string{
		pcommon.ValueTypeStr: "string", pcommon.ValueTypeInt: "int", pcommon.ValueTypeDouble: "double",
		pcommon.ValueTypeBool: "bool", pcommon.ValueTypeSlice: "slice",
		pcommon.ValueTypeMap: "map",
	}[t]
}

// Keys returns the sorted keys of a map.
func Keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
