// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const schema = `
$defs:
  duration: {type: string}
properties:
  interval:
    description: Time between two
      snapshots.
    $ref: "#/$defs/duration"
    x-minimum: 100ms
    x-maximum: 24h
    default: 10s
  ports:
    description: Ports.
    properties:
      include:
        description: A or b|c.
        type: array
        items: {type: [integer, string]}
        default: ["*", lo]
      mode:
        description: How.
        type: string
        enum: [auto, "off"]
        default: auto
  limit:
    description: A bound.
    type: integer
    minimum: 1
    maximum: 1048576
    default: 4096
  metrics:
    description: Switches.
    properties:
      tcp.io:
        description: Bytes.
        properties:
          enabled: {description: On., type: boolean, default: true}
`

const want = "<!-- keys: made -->\n\n```yaml\ncomponent:\n" + `  interval: 10s
  ports:
    include: ["*", lo]
    mode: auto
  limit: 4096
` + "```\n" + `
| Key | Values | Default | Meaning |
|---|---|---|---|
| ` + "`interval` | 100ms to 24h | `10s`" + ` | Time between two snapshots |
| ` + "`ports`" + ` |  |  | Ports |
| ` + "`ports.include` | list of integer or string | `[\"*\", lo]`" + ` | A or b\|c |
| ` + "`ports.mode` | `auto`, `off` | `auto`" + ` | How |
| ` + "`limit` | 1 to 1,048,576 | `4096`" + ` | A bound |

<!-- end of keys -->
`

func files(t *testing.T, schema, page string) (string, string) {
	t.Helper()
	folder := t.TempDir()
	schemaFile, pageFile := filepath.Join(folder, "schema.yaml"), filepath.Join(folder, "page.md")
	for file, text := range map[string]string{schemaFile: schema, pageFile: page} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return schemaFile, pageFile
}

func TestPage(t *testing.T) {
	schemaFile, pageFile := files(t, schema, "before\n<!-- keys: made -->\nold\n<!-- end of keys -->\nafter\n")
	for range 2 { // the second time changes nothing
		if err := run(schemaFile, pageFile, "component"); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(pageFile)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != "before\n"+want+"after\n" {
			t.Fatalf("got\n%s", got)
		}
	}
}

func TestFaults(t *testing.T) {
	const marks = "<!-- keys: made -->\n<!-- end of keys -->\n"
	tests := map[string]struct{ schema, page, want string }{
		"no mark":        {schema, "", "the page has no"},
		"no end":         {schema, "<!-- keys: made -->\n", "end of keys"},
		"no schema":      {"", marks, "empty"},
		"no description": {"properties: {a: {properties: {b: {type: string}}}}", marks, "a has no description"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			schemaFile, pageFile := files(t, test.schema, test.page)
			if err := run(schemaFile, pageFile, "component"); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
