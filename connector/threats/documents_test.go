// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
)

var update = flag.Bool("update", false, "write the table of rules")

const page = "../../docs/threats.md"

// ruleTable is what the page says about the rules.
func ruleTable() string {
	severities := map[finding.Severity]string{finding.Info: "INFO", finding.Warn: "WARN", finding.Error: "ERROR"}
	var b strings.Builder
	b.WriteString("\n| Rule | Severity | Forgeable | Tells by | Default | Evidence | Known false positives |\n|---|---|---|---|---|---|---|\n")
	for id := range catalogue.All {
		r := &catalogue.All[id]
		forgeable := "no"
		if r.Spoofable {
			forgeable = "yes"
		}
		fmt.Fprintf(&b, "| <a id=%q></a>`%s` | %s | %s | %s | %s | %s | %s |\n", r.Name, r.Name, severities[r.Severity], forgeable, r.Algorithm, r.Default, r.Evidence, r.Mistakes)
	}
	return b.String() + "\n"
}

func TestPageHasTheRules(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), "<!-- rules: ")
	require.True(t, found)
	mark, rest, _ := strings.Cut(rest, "\n")
	table, after, found := strings.Cut(rest, "<!-- end of rules -->")
	require.True(t, found)
	if *update {
		whole := before + "<!-- rules: " + mark + "\n" + ruleTable() + "<!-- end of rules -->" + after
		require.NoError(t, os.WriteFile(page, []byte(whole), 0o644))
		return
	}
	assert.Equal(t, ruleTable(), table, "go test ./connector/threats -update")
}

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
	Resource map[string]struct {
		Type string `yaml:"type"`
	} `yaml:"resource_attributes"`
}

func declared(t *testing.T, file string) *declaration {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var d declaration
	require.NoError(t, yaml.Unmarshal(text, &d))
	return &d
}

// types are those of an event's attributes.
func (d *declaration) types(event string) map[string]string {
	types := map[string]string{}
	for _, id := range d.Events[event].Attributes {
		a := d.Attributes[id]
		if a.Name != "" {
			id = a.Name
		}
		types[id] = a.Type
	}
	return types
}
