// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// sink is a second collector. It writes what it receives to files.
type sink struct {
	*collector
	// endpoint takes OTLP over gRPC.
	endpoint      string
	logs, metrics string
}

// startSink runs a sink until the test ends.
func startSink(t *testing.T, in namespace) *sink {
	t.Helper()
	dir := t.TempDir()
	s := &sink{
		endpoint: fmt.Sprintf("127.0.0.1:%d", freePort(t)),
		logs:     filepath.Join(dir, "logs.json"),
		metrics:  filepath.Join(dir, "metrics.json"),
	}
	s.collector = startCollector(t, in, "sink", fmt.Sprintf(`
receivers:
  otlp: {protocols: {grpc: {endpoint: %q}}}
exporters:
  file/logs: {path: %q, flush_interval: 100ms}
  file/metrics: {path: %q, flush_interval: 100ms}
service:
  pipelines:
    logs: {receivers: [otlp], exporters: [file/logs]}
    metrics: {receivers: [otlp], exporters: [file/metrics]}
`, s.endpoint, s.logs, s.metrics))
	return s
}

// values are attributes, those of the resource included.
type values map[string]any

// number is an attribute as a number; it fails the test where there is none.
func (v values) number(t *testing.T, key string) float64 {
	t.Helper()
	switch n := v[key].(type) {
	case int64:
		return float64(n)
	case float64:
		return n
	default:
		require.Fail(t, "no number", "%s is %v in %v", key, v[key], v)
		return 0
	}
}

// record is one log record.
type record struct {
	event, body string
	values
	trace, span string
}

func newRecord(resource pcommon.Resource, r plog.LogRecord) record {
	return record{
		r.EventName(), r.Body().AsString(), merge(resource, r.Attributes()), r.TraceID().String(), r.SpanID().String(),
	}
}

// records are all log records so far that match.
func (s *sink) records(t *testing.T, match func(record) bool) []record {
	t.Helper()
	var all []record
	for _, line := range readLines(t, s.logs) {
		logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(line)
		require.NoError(t, err)
		for _, resource := range logs.ResourceLogs().All() {
			for _, scope := range resource.ScopeLogs().All() {
				for _, r := range scope.LogRecords().All() {
					one := newRecord(resource.Resource(), r)
					if match(one) {
						all = append(all, one)
					}
				}
			}
		}
	}
	return all
}

// point is the latest data point of one series.
type point struct {
	metric string
	values
	value float64 // a sum or gauge
	count uint64  // a histogram
	sum   float64
}

// points are the latest points of all series that match.
func (s *sink) points(t *testing.T, match func(point) bool) []point {
	t.Helper()
	latest := map[string]point{}
	keep := func(p point) { latest[p.metric+fmt.Sprint(p.values)] = p }
	for _, line := range readLines(t, s.metrics) {
		metrics, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(line)
		require.NoError(t, err)
		for _, resource := range metrics.ResourceMetrics().All() {
			for _, scope := range resource.ScopeMetrics().All() {
				for _, m := range scope.Metrics().All() {
					eachPoint(resource.Resource(), m, keep)
				}
			}
		}
	}
	var found []point
	for _, p := range latest {
		if match(p) {
			found = append(found, p)
		}
	}
	return found
}

// total adds up the values, counts and sums of the series that match.
func (s *sink) total(t *testing.T, match func(point) bool) (total point) {
	t.Helper()
	for _, p := range s.points(t, match) {
		total.value += p.value
		total.count += p.count
		total.sum += p.sum
	}
	return total
}

func eachPoint(resource pcommon.Resource, m pmetric.Metric, keep func(point)) {
	number := func(p pmetric.NumberDataPoint) {
		value := p.DoubleValue()
		if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
			value = float64(p.IntValue())
		}
		keep(point{metric: m.Name(), values: merge(resource, p.Attributes()), value: value})
	}
	switch m.Type() {
	case pmetric.MetricTypeSum:
		for _, p := range m.Sum().DataPoints().All() {
			number(p)
		}
	case pmetric.MetricTypeGauge:
		for _, p := range m.Gauge().DataPoints().All() {
			number(p)
		}
	case pmetric.MetricTypeHistogram:
		for _, p := range m.Histogram().DataPoints().All() {
			keep(point{
				metric: m.Name(), values: merge(resource, p.Attributes()),
				count: p.Count(), sum: p.Sum(),
			})
		}
	}
}

func merge(resource pcommon.Resource, attributes pcommon.Map) values {
	all := values(resource.Attributes().AsRaw())
	maps.Copy(all, attributes.AsRaw())
	return all
}

// readLines returns the complete lines of a file that may still grow.
func readLines(t *testing.T, path string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	lines := bytes.Split(text, []byte("\n"))
	return lines[:len(lines)-1]
}

// at matches one kind of event at one server port.
func at(event string, port int) func(record) bool {
	return func(r record) bool {
		return r.event == event && r.values["server.port"] == int64(port)
	}
}

// of matches one metric, its name without the prefix, at one server port.
func of(metric string, port int) func(point) bool {
	return func(p point) bool {
		return p.metric == "tcp.server."+metric && p.values["server.port"] == int64(port)
	}
}
