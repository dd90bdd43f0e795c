// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// property is what a schema says of one key.
type property struct {
	Description string    `yaml:"description"`
	Type        yaml.Node `yaml:"type"`
	Ref         string    `yaml:"$ref"`
	Enum        []string  `yaml:"enum"`
	Items       *property `yaml:"items"`
	Minimum     *float64  `yaml:"minimum"`
	Maximum     *float64  `yaml:"maximum"`
	// Bounds of a duration, for which JSON Schema has no keyword.
	Shortest   string    `yaml:"x-minimum"`
	Longest    string    `yaml:"x-maximum"`
	Default    yaml.Node `yaml:"default"`
	Properties yaml.Node `yaml:"properties"`
}

// key is a key of the configuration or, with keys of its own, a block.
type key struct {
	name string
	property
	keys []key
}

// switches reports whether the keys are names of events, metrics or attributes, which
// have a page of their own.
func (p *property) switches() bool {
	return slices.ContainsFunc(p.Properties.Content, func(n *yaml.Node) bool { return strings.Contains(n.Value, ".") })
}

// read returns the keys of a schema in its order, without switches.
func read(schema *yaml.Node) ([]key, error) {
	var p property
	if err := schema.Decode(&p); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	var keys []key
	for i := 0; i+1 < len(p.Properties.Content); i += 2 {
		name, node := p.Properties.Content[i].Value, p.Properties.Content[i+1]
		k := key{name: name}
		if err := node.Decode(&k.property); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if k.switches() {
			continue
		}
		if k.Description == "" {
			return nil, fmt.Errorf("%s has no description", name)
		}
		var err error
		if k.keys, err = read(node); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// example is a configuration that has all keys with their defaults.
func example(component string, keys []key) string {
	var out strings.Builder
	out.WriteString("```yaml\n" + component + ":\n")
	var write func(keys []key, indent string)
	write = func(keys []key, indent string) {
		for _, k := range keys {
			if len(k.keys) > 0 {
				out.WriteString(indent + k.name + ":\n")
				write(k.keys, indent+"  ")
				continue
			}
			out.WriteString(indent + k.name + ": " + flow(&k.Default) + "\n")
		}
	}
	write(keys, "  ")
	out.WriteString("```\n")
	return out.String()
}

// flow writes a default on one line.
func flow(n *yaml.Node) string {
	if n.Kind != yaml.SequenceNode {
		return scalar(n)
	}
	items := make([]string, 0, len(n.Content))
	for _, item := range n.Content {
		items = append(items, scalar(item))
	}
	return "[" + strings.Join(items, ", ") + "]"
}

func scalar(n *yaml.Node) string {
	if n.Style == yaml.DoubleQuotedStyle {
		return strconv.Quote(n.Value)
	}
	return n.Value
}

// table lists the keys with their values, defaults and meanings.
func table(keys []key) string {
	var out strings.Builder
	markup := strings.NewReplacer("|", `\|`, "*", `\*`)
	out.WriteString("| Key | Values | Default | Meaning |\n|---|---|---|---|\n")
	var write func(keys []key, path string)
	write = func(keys []key, path string) {
		for _, k := range keys {
			values, value := "", ""
			if len(k.keys) == 0 {
				values, value = k.values(), "`"+flow(&k.Default)+"`"
			}
			meaning := strings.TrimSuffix(strings.Join(strings.Fields(k.Description), " "), ".")
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", path+k.name, values, value, markup.Replace(meaning))
			write(k.keys, path+k.name+".")
		}
	}
	write(keys, "")
	return out.String()
}

// values says what a key takes.
func (p *property) values() string {
	switch {
	case len(p.Enum) > 0:
		return "`" + strings.Join(p.Enum, "`, `") + "`"
	case p.Items != nil:
		return "list of " + p.Items.values()
	case strings.HasSuffix(p.Ref, "/duration"):
		return strings.TrimSpace(p.Shortest + " to " + p.Longest)
	case p.Minimum != nil && p.Maximum != nil:
		return number(*p.Minimum) + " to " + number(*p.Maximum)
	case p.Type.Kind == yaml.SequenceNode:
		var types []string
		for _, t := range p.Type.Content {
			types = append(types, t.Value)
		}
		return strings.Join(types, " or ")
	default:
		return p.Type.Value
	}
}

// number writes thousands apart.
func number(n float64) string {
	digits := strconv.FormatFloat(n, 'f', -1, 64)
	whole, fraction, _ := strings.Cut(digits, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return whole
}
