// SPDX-License-Identifier: Apache-2.0

// Package strict decodes a configuration and refuses values that the Collector's decoder would
// truncate, split or report without naming the key. The Go type of a field says which values
// its key takes.
package strict

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/confmap"
)

// Unmarshal fills into, a pointer to a struct with defaults. It reports every fault at once,
// each with the path of its key. A key without a value, or with null, keeps its default.
func Unmarshal(conf *confmap.Conf, into any) error {
	value := reflect.ValueOf(into).Elem()
	c := checker{conf: conf}
	c.mapping(place{}, value.Type(), conf.ToStringMap())
	if len(c.faults) > 0 {
		return errors.Join(c.faults...)
	}
	defaults := reflect.New(value.Type()).Elem()
	defaults.Set(value)
	if err := conf.Unmarshal(into); err != nil {
		return err
	}
	for _, field := range c.unset {
		value.FieldByIndex(field).Set(defaults.FieldByIndex(field))
	}
	return nil
}

// checker compares a configuration's values with the types that they are decoded into.
type checker struct {
	conf   *confmap.Conf
	faults []error
	// unset are the fields whose keys have no value.
	unset [][]int
}

// place is where a value is.
type place struct {
	path string
	// keys lead to the value, or to the list that it is an item of.
	keys []string
	// field is the index for reflect.Value.FieldByIndex; nil within a list.
	field  []int
	inList bool
}

func (p place) key(name string, field int) place {
	key := place{path: name, keys: append(slices.Clip(p.keys), name), inList: p.inList}
	if p.path != "" {
		key.path = p.path + confmap.KeyDelimiter + name
	}
	if !p.inList {
		key.field = append(slices.Clip(p.field), field)
	}
	return key
}

func (p place) at(index int) place {
	return place{path: fmt.Sprintf("%s[%d]", p.path, index), keys: p.keys, inList: true}
}

func (c *checker) fault(at place, format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf("%s: %w", at.path, fmt.Errorf(format, args...)))
}

// value checks one value, whatever its type.
func (c *checker) value(at place, t reflect.Type, raw any) {
	switch {
	case raw == nil:
		if !at.inList {
			c.unset = append(c.unset, at.field)
		}
	case t == reflect.TypeFor[time.Duration]():
		c.duration(at, raw)
	default:
		c.kind(at, t, raw)
	}
}

func (c *checker) kind(at place, t reflect.Type, raw any) {
	switch t.Kind() {
	case reflect.Bool:
		if _, ok := raw.(bool); !ok {
			c.fault(at, "%s is neither true nor false", show(raw))
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		c.integer(at, t, raw)
	case reflect.Float32, reflect.Float64:
		if !isNumber(raw) {
			c.fault(at, "%s is not a number", show(raw))
		}
	case reflect.String:
		c.text(at, t, raw)
	case reflect.Slice:
		c.list(at, t, raw)
	case reflect.Struct:
		c.mapping(at, t, raw)
	}
}

// mapping skips unknown keys: the decoder reports them.
func (c *checker) mapping(at place, t reflect.Type, raw any) {
	values, ok := raw.(map[string]any)
	if !ok {
		c.fault(at, "%s is not a mapping%s", show(raw), knownKeys(t))
		return
	}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("mapstructure"), ",")
		if name == "" || name == "-" || strings.Contains(options, "squash") {
			continue // squashed keys are the decoder's
		}
		if value, set := values[name]; set {
			c.value(at.key(name, i), t.Field(i).Type, value)
		}
	}
}

// knownKeys lists the keys of a mapping if there are few.
func knownKeys(t reflect.Type) string {
	const few = 10
	var keys []string
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("mapstructure"); name != "" {
			keys = append(keys, name)
		}
	}
	switch {
	case len(keys) > few:
		return ""
	case len(keys) == 1:
		return "; its key is " + keys[0]
	}
	return "; its keys are " + strings.Join(keys[:len(keys)-1], ", ") + " and " + keys[len(keys)-1]
}

func (c *checker) list(at place, t reflect.Type, raw any) {
	items, ok := raw.([]any)
	switch {
	case ok:
		for i, item := range items {
			if item != nil {
				c.value(at.at(i), t.Elem(), item)
			}
		}
	case reflect.TypeOf(raw).Kind() == reflect.Map:
		c.fault(at, "a mapping is not a list")
	default:
		c.fault(at, "%s is not a list; write [%s]", show(raw), show(raw))
	}
}

// text accepts everything that the decoder accepts. A number may come from ${env:NAME}, and
// then its characters are decoded.
func (c *checker) text(at place, t reflect.Type, raw any) {
	if _, ok := raw.(string); ok || c.decodes(at, t) {
		return
	}
	c.fault(at, "%s is not a string; put it in quotes", show(raw))
}

// decodes reports whether the decoder accepts a value, or the whole list that it is in. Deeper
// levels of a list are not checked.
func (c *checker) decodes(at place, t reflect.Type) bool {
	sub := c.conf
	last := len(at.keys) - 1
	for _, key := range at.keys[:last] {
		var err error
		if sub, err = sub.Sub(key); err != nil {
			return true
		}
	}
	if at.inList {
		t = reflect.SliceOf(t)
	}
	target := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: "Value", Type: t, Tag: reflect.StructTag(fmt.Sprintf("mapstructure:%q", at.keys[last])),
	}}))
	return sub.Unmarshal(target.Interface(), confmap.WithIgnoreUnused()) == nil
}
