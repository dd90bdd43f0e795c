// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.yaml.in/yaml/v3"
)

// declaration is what metadata.yaml says.
type declaration struct {
	Attributes map[string]struct {
		Name string   `yaml:"name_override"`
		Type string   `yaml:"type"`
		Enum []string `yaml:"enum"`
	} `yaml:"attributes"`
	Events map[string]struct {
		Attributes []string `yaml:"attributes"`
	} `yaml:"events"`
	Metrics map[string]struct {
		Description string    `yaml:"description"`
		Unit        string    `yaml:"unit"`
		Attributes  []string  `yaml:"attributes"`
		Sum         *struct{} `yaml:"sum"`
		Histogram   *struct{} `yaml:"histogram"`
		Gauge       *struct{} `yaml:"gauge"`
	} `yaml:"metrics"`
}

// holds tells that attributes are among the declared ones, and have their types and values.
func (d *declaration) holds(t *testing.T, about string, declared []string, attributes pcommon.Map) {
	t.Helper()
	ids := map[string]string{}
	for _, id := range declared {
		name := d.Attributes[id].Name
		if name == "" {
			name = id
		}
		ids[name] = id
	}
	kinds := map[pcommon.ValueType]string{pcommon.ValueTypeStr: "string", pcommon.ValueTypeInt: "int", pcommon.ValueTypeDouble: "double"}
	for key, value := range attributes.All() {
		a := d.Attributes[ids[key]]
		assert.Equal(t, a.Type, kinds[value.Type()], "%s of %s", key, about)
		if len(a.Enum) > 0 {
			assert.Contains(t, a.Enum, value.Str(), "%s of %s", key, about)
		}
	}
}

// TestEmitsWhatIsDeclared: records and metrics are as metadata.yaml says.
func TestEmitsWhatIsDeclared(t *testing.T) {
	text, err := os.ReadFile("metadata.yaml")
	require.NoError(t, err)
	var d declaration
	require.NoError(t, yaml.Unmarshal(text, &d))

	b := newBench(t).start()
	b.finding("tcp.server.threat", guessing("198.51.100.7"))
	b.finding("tcp.server.threat", guessing("127.0.0.1"))
	b.pass(time.Hour)
	b.eventually(func() bool { return len(b.bodies()) == 3 && len(b.metrics.AllMetrics()) > 0 })
	seen := map[string]bool{}
	for _, logs := range b.logs.AllLogs() {
		for _, r := range logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
			seen[r.EventName()] = true
			d.holds(t, r.EventName(), d.Events[r.EventName()].Attributes, r.Attributes())
		}
	}
	for event := range d.Events {
		assert.True(t, seen[event], event)
	}
	emitted := b.metrics.AllMetrics()[0].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	assert.Equal(t, len(d.Metrics), emitted.Len())
	for _, m := range emitted.All() {
		declared := d.Metrics[m.Name()]
		assert.Equal(t, declared.Description, m.Description(), m.Name())
		assert.Equal(t, declared.Unit, m.Unit(), m.Name())
		assert.Equal(t, declared.Sum != nil, m.Type() == pmetric.MetricTypeSum, m.Name())
		assert.Equal(t, declared.Histogram != nil, m.Type() == pmetric.MetricTypeHistogram, m.Name())
		assert.Equal(t, declared.Gauge != nil, m.Type() == pmetric.MetricTypeGauge, m.Name())
		if declared.Sum != nil {
			for _, p := range m.Sum().DataPoints().All() {
				d.holds(t, m.Name(), declared.Attributes, p.Attributes())
			}
		}
	}
}
