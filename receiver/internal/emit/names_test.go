// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.yaml.in/yaml/v3"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

// declaration is what these tests need of metadata.yaml.
type declaration struct {
	ScopeName          string                       `yaml:"scope_name"`
	ResourceAttributes map[string]declaredAttribute `yaml:"resource_attributes"`
	Attributes         map[string]declaredAttribute `yaml:"attributes"`
	Events             map[string]struct {
		Attributes []string `yaml:"attributes"`
	} `yaml:"events"`
	Metrics map[string]declaredMetric `yaml:"metrics"`
}

type declaredAttribute struct {
	Name  string   `yaml:"name_override"`
	Type  string   `yaml:"type"`
	Enum  []string `yaml:"enum"`
	Level string   `yaml:"requirement_level"`
}

type declaredMetric struct {
	Description string   `yaml:"description"`
	Unit        string   `yaml:"unit"`
	Attributes  []string `yaml:"attributes"`
	Sum         *struct {
		Monotonic bool `yaml:"monotonic"`
	} `yaml:"sum"`
	Histogram *struct{} `yaml:"histogram"`
}

func declared(t *testing.T) *declaration {
	t.Helper()
	data, err := os.ReadFile("../../../metadata.yaml")
	require.NoError(t, err)
	var d declaration
	require.NoError(t, yaml.Unmarshal(data, &d))
	return &d
}

// names are the attributes' names as they are emitted.
func (d *declaration) names(keys []string) map[string]declaredAttribute {
	all := map[string]declaredAttribute{}
	for _, key := range keys {
		attribute := d.Attributes[key]
		if attribute.Name == "" {
			attribute.Name = key
		}
		all[attribute.Name] = attribute
	}
	return all
}

// emitted gathers the attributes of what has one name.
type emitted map[string]map[string]struct{}

func (e emitted) add(t *testing.T, name string, attributes pcommon.Map, allowed map[string]declaredAttribute) {
	t.Helper()
	if e[name] == nil {
		e[name] = map[string]struct{}{}
	}
	for key, value := range attributes.All() {
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

func typeName(t pcommon.ValueType) string {
	return map[pcommon.ValueType]string{
		pcommon.ValueTypeStr: "string", pcommon.ValueTypeInt: "int", pcommon.ValueTypeDouble: "double",
		pcommon.ValueTypeBool: "bool", pcommon.ValueTypeSlice: "slice",
	}[t]
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func TestEventsAreAsDeclared(t *testing.T) {
	d := declared(t)
	require.Equal(t, d.ScopeName, metadata.ScopeName)
	l := testLogs(allEvents())
	for _, p := range []*owner.Process{testProcess(), nil} {
		for source := owner.None; source <= owner.ByAcceptor; source++ {
			l.Opened(testOpened(), p, source)
		}
		for reason := connection.CloseUnknown; reason <= connection.CloseTimeout; reason++ {
			c := testClosed()
			c.Reason = reason
			l.Closed(c, p, owner.ByCloser)
		}
		for malformed := packet.WellFormed; malformed < packet.MalformedKinds; malformed++ {
			k := testPacket()
			k.Malformed, k.Egress = malformed, malformed%2 == 0
			l.Packet(k, p, owner.ByHolder)
		}
	}
	for failure := connection.FailureOther; failure <= connection.FailureAcceptQueueOverflow; failure++ {
		f := testFailed()
		f.Type = failure
		l.Failed(f)
	}

	got := emitted{}
	for _, resource := range l.Take().Logs.ResourceLogs().All() {
		require.Subset(t, keys(d.ResourceAttributes), keys(resource.Resource().Attributes().AsRaw()))
		for _, record := range resource.ScopeLogs().At(0).LogRecords().All() {
			event, ok := d.Events[record.EventName()]
			require.True(t, ok, "%s is not declared", record.EventName())
			got.add(t, record.EventName(), record.Attributes(), d.names(event.Attributes))
			require.Regexp(t, "^"+record.EventName()+" ", record.Body().Str())
		}
	}
	require.Equal(t, keys(d.Events), keys(got))
	for name, event := range d.Events {
		require.Equal(t, keys(d.names(event.Attributes)), keys(got[name]), name)
	}
}

func TestMetricsAreAsDeclared(t *testing.T) {
	d := declared(t)
	got := emitted{}
	gather := func(data pmetric.Metrics) {
		each(data, func(_ pcommon.Resource, m pmetric.Metric) {
			metric, ok := d.Metrics[m.Name()]
			require.True(t, ok, "%s is not declared", m.Name())
			require.Equal(t, metric.Description, m.Description())
			require.Equal(t, metric.Unit, m.Unit())
			allowed := d.names(metric.Attributes)
			if metric.Histogram != nil {
				for _, p := range m.Histogram().DataPoints().All() {
					got.add(t, m.Name(), p.Attributes(), allowed)
				}
				return
			}
			require.Equal(t, metric.Sum.Monotonic, m.Sum().IsMonotonic(), m.Name())
			for _, p := range m.Sum().DataPoints().All() {
				got.add(t, m.Name(), p.Attributes(), allowed)
			}
		})
	}
	known := newRig(MetricsOptions{})
	everything(known.Metrics)
	s := web()
	for what := connection.Retransmits; what <= connection.Failures; what++ {
		known.AddCount(s, what, "", 1)
	}
	for class := range packet.Classes {
		i := packet.Interface{Name: "eth1", NetNS: 4026532000}
		i.Packets[class], i.Bytes[class] = 1, 60
		known.SetInterface(i)
	}
	for malformed := packet.WellFormed + 1; malformed < packet.MalformedKinds; malformed++ {
		i := packet.Interface{Name: "eth2", NetNS: 4026532000, Fragments: 1, Forwarded: 1}
		i.Malformed[malformed] = 1
		known.SetInterface(i)
	}
	gather(known.pass(time.Second))
	over := newRig(MetricsOptions{SeriesLimit: -1})
	everything(over.Metrics)
	gather(over.pass(time.Second))

	require.Equal(t, keys(d.Metrics), keys(got))
	for name, metric := range d.Metrics {
		require.Equal(t, keys(d.names(metric.Attributes)), keys(got[name]), name)
	}
}

// TestInternalEnumsAreAsDeclared holds the attributes of the internal metrics.
func TestInternalEnumsAreAsDeclared(t *testing.T) {
	d := declared(t)
	var events []string
	for event := range ledger.Events {
		events = append(events, event.String())
	}
	places, reasons := map[string]bool{}, map[string]bool{}
	for cause := range ledger.Causes {
		places[cause.Place()], reasons[cause.Reason()] = true, true
	}
	require.ElementsMatch(t, events, d.Attributes["event"].Enum)
	require.ElementsMatch(t, keys(places), d.Attributes["place"].Enum)
	require.ElementsMatch(t, keys(reasons), d.Attributes["reason"].Enum)
}
