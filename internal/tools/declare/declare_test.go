// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const metadata = `
scope_name: example.org/component
resource_attributes:
  host.name: {description: The host., type: string, enabled: true}
attributes:
  server.port: {description: Port., type: int}
  close.error.type: {name_override: error.type, description: Why., type: string}
  tcp.rtt.min: {description: "Least: never 0.", type: double}
  unused: {description: No event has it., type: int}
events:
  tcp.server.connection.close:
    enabled: true
    description: A connection ended.
    attributes: [server.port, tcp.rtt.min, close.error.type]
  http.server.request:
    enabled: false
    description: A request was answered.
    attributes: [server.port]
metrics:
  tcp.server.io:
    enabled: true
    description: Payload.
    unit: By
    sum: {monotonic: true}
    attributes: [server.port]
  tcp.server.rtt:
    enabled: false
    description: Round-trip time.
    unit: s
    histogram: {value_type: double}
`

// generated is what mdatagen makes, in short.
const generated = `package metadata

type MetricsConfig struct {
	TCPServerIo  IoConfig  ` + "`mapstructure:\"tcp.server.io\"`" + `
	TCPServerRtt RttConfig ` + "`mapstructure:\"tcp.server.rtt\"`" + `
}

type EventsConfig struct {
	TCPServerConnectionClose EventConfig ` + "`mapstructure:\"tcp.server.connection.close\"`" + `
	HTTPServerRequest        EventConfig ` + "`mapstructure:\"http.server.request\"`" + `
}

type ResourceAttributesConfig struct {
	HostName ResourceAttributeConfig ` + "`mapstructure:\"host.name\"`" + `
}
`

// component writes the files of a component and returns its directory.
func component(t *testing.T, metadata, schema string) string {
	t.Helper()
	directory := t.TempDir()
	for name, text := range map[string]string{
		"metadata.yaml": metadata, "config.schema.yaml": schema,
		"internal/metadata/generated_config.go": generated, "internal/declared/declared.go": "package declared\n",
	} {
		file := filepath.Join(directory, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

func read(t *testing.T, directory, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(directory, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCode(t *testing.T) {
	directory := component(t, metadata, mark)
	if err := run(directory); err != nil {
		t.Fatal(err)
	}
	source := read(t, directory, "internal/declared/generated.go")
	for _, want := range []string{
		`import "example.org/component/internal/metadata"`,
		"EventConnectionClose   Event = iota // tcp.server.connection.close",
		"EventHTTPServerRequest              // http.server.request",
		"		AttrServerPort,\n		AttrRTTMin,\n		AttrErrorType,\n", // in the order of the declaration
		"EventHTTPServerRequest: c.HTTPServerRequest.Enabled,",
		"MetricIO: {\n		Name:        \"tcp.server.io\",\n		Description: \"Payload.\",\n		Unit:        \"By\",\n		Kind:        Counter,\n",
		"Kind:        Histogram,",
		"MetricRTT: c.TCPServerRtt.Enabled,",
		`AttrErrorType:  "error.type",`,
		`"host.name": c.HostName,`,
	} {
		if !strings.Contains(source, want) {
			t.Errorf("the code lacks\n%s", want)
		}
	}
	if strings.Contains(source, "nused") {
		t.Error("the code has an attribute that nothing uses")
	}
	if t.Failed() {
		t.Log(source)
	}
}

func TestSchema(t *testing.T) {
	const before = "properties:\n  interval: {type: string}\n"
	directory := component(t, metadata, before+mark+"  old: true\n")
	for range 2 { // the second time changes nothing
		if err := run(directory); err != nil {
			t.Fatal(err)
		}
		got := read(t, directory, "config.schema.yaml")
		for _, want := range []string{
			before + mark + "  events:\n",
			"      http.server.request:\n        description: A request was answered.\n        type: object\n" +
				"        additionalProperties: false\n        properties:\n          enabled:\n            type: boolean\n            default: false\n",
			"          metrics_include:\n            $ref: \"#/$defs/filters\"\n            default: []\n",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("the schema lacks\n%s\ngot\n%s", want, got)
			}
		}
		if strings.Contains(got, "old") {
			t.Error("the old end of the schema stays")
		}
	}
}

func TestFaults(t *testing.T) {
	many := strings.Repeat("server.port, ", most) + "server.port"
	tests := map[string]struct{ old, changed, schema, want string }{
		"no scope":           {"scope_name: example.org/component", "", mark, "scope_name is missing"},
		"unknown attribute":  {"attributes: [server.port]\nmetrics", "attributes: [server.name]\nmetrics", mark, "attribute server.name is not declared"},
		"too many":           {"attributes: [server.port]\nmetrics", "attributes: [" + many + "]\nmetrics", mark, "129 attributes, the most are 128"},
		"no kind":            {"sum: {monotonic: true}", "", mark, "neither a sum nor a histogram"},
		"not generated":      {"tcp.server.io:", "tcp.server.oi:", mark, "mdatagen's MetricsConfig has no tcp.server.oi"},
		"equal in Go":        {"unused:", "rtt.min:", mark, "have one name in Go, AttrRTTMin"},
		"schema has no mark": {"", "", "properties:\n", "the schema has no line"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(metadata, test.old, test.changed, 1)
			if name == "equal in Go" {
				changed = strings.Replace(changed, "[server.port, tcp.rtt.min,", "[server.port, tcp.rtt.min, rtt.min,", 1)
			}
			err := run(component(t, changed, test.schema))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
