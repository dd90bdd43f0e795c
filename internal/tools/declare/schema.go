// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mark is the line of a schema from which on this command writes it.
const mark = "  # Below: made of metadata.yaml by internal/tools/declare.\n"

func updateSchema(file string, d *declaration) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	before, _, found := strings.Cut(string(text), mark)
	if !found {
		return errors.New("the schema has no line\n" + mark)
	}
	if err := os.WriteFile(file, []byte(before+mark+schema(d)), 0o644); err != nil {
		return fmt.Errorf("write the schema: %w", err)
	}
	return nil
}

// schema is the part of a configuration's schema that switches what is declared.
func schema(d *declaration) string {
	var b strings.Builder
	section(&b, "events", "Log records, by event.")
	for name, event := range d.Events.all {
		toggle(&b, name, event.Description, event.Enabled)
	}
	section(&b, "metrics", "Metrics.")
	for name, metric := range d.Metrics.all {
		toggle(&b, name, metric.Description, metric.Enabled)
	}
	section(&b, "resource_attributes", "Resource attributes of both signals.")
	for name, attribute := range d.ResourceAttributes.all {
		toggle(&b, name, attribute.Description, attribute.Enabled)
		for _, list := range []string{"events_exclude", "events_include", "metrics_exclude", "metrics_include"} {
			fmt.Fprintf(&b, "          %s:\n            $ref: \"#/$defs/filters\"\n            default: []\n", list)
		}
	}
	return b.String()
}

func section(b *strings.Builder, name, description string) {
	fmt.Fprintf(b, "  %s:\n    description: %s    type: object\n    additionalProperties: false\n    properties:\n", name, scalar(description))
}

func toggle(b *strings.Builder, name, description string, enabled bool) {
	fmt.Fprintf(b, "      %s:\n        description: %s        type: object\n        additionalProperties: false\n        properties:\n", name, scalar(description))
	fmt.Fprintf(b, "          enabled:\n            type: boolean\n            default: %t\n", enabled)
}

// scalar is a text in YAML, with a line feed.
func scalar(text string) string {
	quoted, err := yaml.Marshal(text)
	if err != nil {
		panic(err) // no string fails
	}
	return string(quoted)
}
