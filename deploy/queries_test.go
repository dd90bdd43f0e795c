// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// declaration is what these tests need of a metadata.yaml.
type declaration struct {
	Attributes map[string]struct {
		NameOverride string `yaml:"name_override"`
		Enum         []string
	}
	ResourceAttributes map[string]any `yaml:"resource_attributes"`
	Events             map[string]any
	Metrics            map[string]instrument
	Telemetry          struct{ Metrics map[string]instrument }
}

type instrument struct {
	Unit       string
	Attributes []string
	Histogram  *struct{}
	Gauge      *struct{}
	Sum        *struct{ Monotonic bool }
}

func readDeclaration(t *testing.T) declaration {
	t.Helper()
	text, err := os.ReadFile("../metadata.yaml")
	require.NoError(t, err)
	var d declaration
	require.NoError(t, yaml.Unmarshal(text, &d))
	return d
}

// key is the name of an attribute as data has it.
func (d declaration) key(name string) string {
	if override := d.Attributes[name].NameOverride; override != "" {
		return override
	}
	return name
}

func underscored(name string) string { return strings.NewReplacer(".", "_").Replace(name) }

// prometheus returns the names and labels that metrics have in Prometheus.
func (d declaration) prometheus() map[string][]string {
	names := map[string][]string{}
	add := func(name string, i instrument) {
		name = underscored(name)
		if suffix := map[string]string{"s": "_seconds", "By": "_bytes"}[i.Unit]; suffix != "" {
			name += suffix
		}
		var labels []string
		for _, attribute := range i.Attributes {
			labels = append(labels, underscored(d.key(attribute)))
		}
		switch {
		case i.Histogram != nil:
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				names[name+suffix] = append([]string{"le"}, labels...)
			}
		case i.Sum != nil && i.Sum.Monotonic:
			names[name+"_total"] = labels
		default:
			names[name] = labels
		}
	}
	for name, i := range d.Metrics {
		add(name, i)
	}
	for name, i := range d.Telemetry.Metrics {
		add("otelcol."+name, i)
	}
	// target_info has what describes the resource, and the labels that join it.
	names["target_info"] = []string{"job", "instance"}
	for name := range d.ResourceAttributes {
		names["target_info"] = append(names["target_info"], underscored(name))
	}
	return names
}

var (
	metric  = regexp.MustCompile(`\b(?:(?:tcp|http|rpc|gen_ai|otelcol)_[a-z0-9_]+|target_info\b)`)
	braces  = regexp.MustCompile(`([a-z0-9_:]+)\{([^}]*)\}`)
	grouped = regexp.MustCompile(`\bby \(([^)]*)\)`)
	label   = regexp.MustCompile(`([a-z0-9_]+)\s*(?:=~|!=|=)\s*"([^"]*)"`)
)

// TestQueriesNameWhatIsDeclared: no metric, label, event or attribute that metadata.yaml lacks.
func TestQueriesNameWhatIsDeclared(t *testing.T) {
	d := readDeclaration(t)
	metrics := d.prometheus()
	keys, recorded := map[string]bool{}, map[string]bool{}
	for name := range d.Attributes {
		keys[d.key(name)] = true
	}
	queries, err := Queries()
	require.NoError(t, err)
	for _, q := range queries {
		recorded[q.Record] = true
	}
	for _, q := range queries {
		expressions := []string{q.PromQL}
		if q.Alert != nil {
			expressions = append(expressions, q.Alert.When)
		}
		for _, expression := range expressions {
			checkPromQL(t, q.ID, expression, metrics, recorded)
		}
		for _, name := range regexp.MustCompile(`event_name:="([^"]+)"`).FindAllStringSubmatch(q.LogsQL, -1) {
			assert.Contains(t, d.Events, name[1], q.ID)
		}
		for _, name := range regexp.MustCompile(`"([a-z_]+(?:\.[a-z_]+)+)"`).FindAllStringSubmatch(q.LogsQL, -1) {
			if _, isEvent := d.Events[name[1]]; !isEvent {
				assert.True(t, keys[name[1]], "%s: attribute %s", q.ID, name[1])
			}
		}
	}
}

func checkPromQL(t *testing.T, id, expression string, metrics map[string][]string, recorded map[string]bool) {
	t.Helper()
	labels := map[string]bool{}
	plain := regexp.MustCompile(`[a-z]+:[a-z0-9_:]+`).ReplaceAllStringFunc(expression, func(name string) string {
		assert.True(t, recorded[name], "%s: %s is not recorded", id, name)
		return ""
	})
	for _, name := range metric.FindAllString(grouped.ReplaceAllString(label.ReplaceAllString(plain, ""), ""), -1) {
		own, ok := metrics[name]
		assert.True(t, ok, "%s: metric %s", id, name)
		for _, l := range own {
			labels[l] = true
		}
	}
	if len(labels) == 0 {
		return
	}
	for _, by := range grouped.FindAllStringSubmatch(plain, -1) {
		for _, l := range strings.Split(by[1], ",") {
			assert.True(t, labels[strings.TrimSpace(l)], "%s: label %s", id, l)
		}
	}
	for _, selector := range braces.FindAllStringSubmatch(plain, -1) {
		for _, l := range label.FindAllStringSubmatch(selector[2], -1) {
			assert.Contains(t, metrics[selector[1]], l[1], id)
		}
	}
}

// TestQueriesAreWhole: each has what pages and rules are made of.
func TestQueriesAreWhole(t *testing.T) {
	queries, err := Queries()
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, q := range queries {
		assert.False(t, seen[q.ID], "%s is there twice", q.ID)
		seen[q.ID] = true
		assert.Contains(t, []string{"overview", "service", "host", "receiver"}, q.Board, q.ID)
		for _, text := range []string{q.ID, q.Title, q.Unit, q.Answer, q.PromQL + q.LogsQL} {
			assert.NotEmpty(t, text, q.ID)
		}
		if q.Alert != nil {
			for _, text := range []string{q.Alert.Name, q.Alert.When, q.Alert.For, q.Alert.Severity, q.Alert.Summary} {
				assert.NotEmpty(t, text, q.ID)
			}
		}
	}
}

func TestSelect(t *testing.T) {
	assert.Equal(t, `sum(a) + b{c="d"}`, Select(`sum(a{$service}) + b{$host, c="d"}`, "", ""))
	assert.Equal(t, `a{x="y"} + b{z="w", c="d"}`, Select(`a{$service} + b{$host, c="d"}`, `x="y"`, `z="w"`))
}
