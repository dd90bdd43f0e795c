// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// result is the measured value of one figure.
type result struct {
	// Value is the median of the repetitions, Low and High their quartiles.
	Value, Low, High float64
	// Samples is how many repetitions there were.
	Samples int
	// Note has further observations, for people.
	Note string `json:",omitempty"`
	// Missing says why there is no value.
	Missing string `json:",omitempty"`
	// Measurement made it, by Command, on Machine, When.
	Measurement, Command, Machine string
	When                          time.Time
}

// plotted is a plot's data.
type plotted struct {
	Measurement string
	Lines       []line
}

// results are kept between runs, so that one measurement can be made again.
type results struct {
	path    string
	Figures map[string]result
	Plots   map[string]plotted
}

func loadResults(path string) (*results, error) {
	r := &results{path: path, Figures: map[string]result{}, Plots: map[string]plotted{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read earlier results: %w", err)
	}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read earlier results, remove %s to start again: %w", path, err)
	}
	return r, nil
}

func (r *results) save() error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(r.path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("keep results: %w", err)
	}
	return nil
}

// update replaces what newer results have.
func (r *results) update(newer *results) {
	maps.Copy(r.Figures, newer.Figures)
	maps.Copy(r.Plots, newer.Plots)
	// A figure that no longer exists is nobody's.
	maps.DeleteFunc(r.Figures, func(id string, _ result) bool {
		return !slices.ContainsFunc(figures, func(f figure) bool { return f.id == id })
	})
}

// machines are where the figures come from, the latest first.
func (r *results) machines() []string {
	latest := map[string]time.Time{}
	for _, one := range r.Figures {
		if one.When.After(latest[one.Machine]) {
			latest[one.Machine] = one.When
		}
	}
	return slices.SortedFunc(maps.Keys(latest), func(a, b string) int {
		return cmp.Or(latest[b].Compare(latest[a]), strings.Compare(a, b))
	})
}

// forget removes earlier results of a measurement that runs again.
func (r *results) forget(measurement string) {
	for id, one := range r.Figures {
		if one.Measurement == measurement {
			delete(r.Figures, id)
		}
	}
	for id, one := range r.Plots {
		if one.Measurement == measurement {
			delete(r.Plots, id)
		}
	}
}

// found keeps a figure's value.
func (b *bench) found(id string, s sample, note string, args ...any) {
	b.keep(id, result{
		Value: s.median(), Low: s.quantile(0.25), High: s.quantile(0.75),
		Samples: len(s), Note: fmt.Sprintf(note, args...),
	})
}

// missing keeps why a figure has no value on this host.
func (b *bench) missing(id string, why error) {
	b.keep(id, result{Missing: why.Error()})
}

func (b *bench) keep(id string, r result) {
	figureOf(id) // it has to be one
	r.Measurement, r.Machine, r.When = b.current.name, thisMachine().String(), time.Now()
	r.Command = "make bench-full ONLY=" + b.current.name
	if b.current.quick {
		r.Command = "make bench"
	}
	b.results.Figures[id] = r
}

func (b *bench) plot(id string, lines ...line) {
	b.results.Plots[id] = plotted{Measurement: b.current.name, Lines: lines}
}
