// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// declaration is what this command needs of a metadata.yaml.
type declaration struct {
	ScopeName          string             `yaml:"scope_name"`
	ResourceAttributes ordered[attribute] `yaml:"resource_attributes"`
	Attributes         ordered[attribute] `yaml:"attributes"`
	Events             ordered[event]     `yaml:"events"`
	Metrics            ordered[metric]    `yaml:"metrics"`
}

type attribute struct {
	Name        string `yaml:"name_override"`
	Description string `yaml:"description"`
	Enabled     bool   `yaml:"enabled"`
}

type event struct {
	Description string   `yaml:"description"`
	Enabled     bool     `yaml:"enabled"`
	Attributes  []string `yaml:"attributes"`
}

type metric struct {
	Description string   `yaml:"description"`
	Enabled     bool     `yaml:"enabled"`
	Unit        string   `yaml:"unit"`
	Attributes  []string `yaml:"attributes"`
	Sum         *struct {
		Monotonic bool `yaml:"monotonic"`
	} `yaml:"sum"`
	Histogram *struct{} `yaml:"histogram"`
}

// ordered is a mapping in the order of the file.
type ordered[T any] struct {
	keys   []string
	values map[string]T
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (o *ordered[T]) UnmarshalYAML(node *yaml.Node) error {
	if err := node.Decode(&o.values); err != nil {
		return err
	}
	for i := 0; i < len(node.Content); i += 2 {
		o.keys = append(o.keys, node.Content[i].Value)
	}
	return nil
}

// all yields the entries in the order of the file.
func (o *ordered[T]) all(yield func(string, T) bool) {
	for _, key := range o.keys {
		if !yield(key, o.values[key]) {
			return
		}
	}
}

// most is how many attributes an event can have: log records keep a bit for each.
const most = 128

// parse reads a declaration and replaces each attribute's key by its name.
func parse(text []byte) (*declaration, error) {
	var d declaration
	if err := yaml.Unmarshal(text, &d); err != nil {
		return nil, err
	}
	if d.ScopeName == "" {
		return nil, errors.New("scope_name is missing")
	}
	var errs []error
	resolve := func(of string, keys []string) {
		for i, key := range keys {
			attribute, ok := d.Attributes.values[key]
			if !ok {
				errs = append(errs, fmt.Errorf("%s: attribute %s is not declared", of, key))
			}
			if attribute.Name != "" {
				keys[i] = attribute.Name
			}
		}
		if len(keys) > most {
			errs = append(errs, fmt.Errorf("%s: %d attributes, the most are %d", of, len(keys), most))
		}
	}
	for name, event := range d.Events.all {
		resolve(name, event.Attributes)
	}
	for name, metric := range d.Metrics.all {
		resolve(name, metric.Attributes)
		if (metric.Sum == nil) == (metric.Histogram == nil) {
			errs = append(errs, fmt.Errorf("%s: neither a sum nor a histogram", name))
		}
	}
	return &d, errors.Join(errs...)
}

// used are the names of the attributes that events or metrics have, sorted.
func (d *declaration) used() []string {
	names := map[string]bool{}
	for _, event := range d.Events.all {
		for _, name := range event.Attributes {
			names[name] = true
		}
	}
	for _, metric := range d.Metrics.all {
		for _, name := range metric.Attributes {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// kind is the name of the constant that says how a metric adds up.
func (m metric) kind() string {
	switch {
	case m.Histogram != nil:
		return "Histogram"
	case m.Sum.Monotonic:
		return "Counter"
	default:
		return "UpDownCounter"
	}
}

// spellings are words that Go does not write with one capital.
func spellings() map[string]string {
	return map[string]string{
		"ai": "AI", "grpc": "GRPC", "http": "HTTP", "id": "ID", "io": "IO", "ip": "IP", "k8s": "K8s", "mptcp": "MPTCP", "netns": "NetNS",
		"pid": "PID", "rpc": "RPC", "rtt": "RTT", "syn": "SYN", "tcp": "TCP", "tls": "TLS", "uid": "UID", "url": "URL", "xml": "XML",
	}
}

// identifier is a name in Go, without the prefix that nearly all names have.
func identifier(name string, prefixes ...string) string {
	for _, prefix := range prefixes {
		if rest, found := strings.CutPrefix(name, prefix); found {
			name = rest
			break
		}
	}
	var b strings.Builder
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return r == '.' || r == '_' }) {
		spelling, ok := spellings()[word]
		if !ok {
			spelling = strings.ToUpper(word[:1]) + word[1:]
		}
		b.WriteString(spelling)
	}
	return b.String()
}
