// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// goBenchmark is one call of Go benchmarks with fixed repetitions.
type goBenchmark struct {
	// folder of the package, from the top. Its last part names the test binary.
	folder string
	// pattern, times and count are go test's -bench, -benchtime and -count.
	pattern      string
	times, count int
}

// outcome has one sample per metric of each benchmark, by the benchmark's name.
type outcome map[string]map[string]sample

// run runs the test binary, which must have been built before.
func (g goBenchmark) run(ctx context.Context, b *bench) (outcome, error) {
	binary, err := filepath.Abs(filepath.Join(b.binaries, filepath.Base(g.folder)+".test"))
	if err != nil {
		return nil, fmt.Errorf("find test binaries: %w", err)
	}
	cmd := exec.CommandContext(ctx, binary, "-test.run=^$", "-test.bench="+g.pattern, "-test.benchmem",
		"-test.benchtime="+strconv.Itoa(g.times)+"x", "-test.count="+strconv.Itoa(g.count))
	cmd.Dir = g.folder
	text, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("run %s of %s: %w\n%s", g.pattern, g.folder, err, text)
	}
	found := parseBenchmarks(string(text))
	if len(found) == 0 {
		return nil, fmt.Errorf("run %s of %s: there is no such benchmark", g.pattern, g.folder)
	}
	return found, nil
}

// processors is what go test appends to a benchmark's name.
var processors = regexp.MustCompile(`-\d+$`)

// parseBenchmarks reads lines of Go's benchmark format: a name, the repetitions, and
// then values, each with its unit behind it.
func parseBenchmarks(text string) outcome {
	found := outcome{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := processors.ReplaceAllString(fields[0], "")
		if found[name] == nil {
			found[name] = map[string]sample{}
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if value, err := strconv.ParseFloat(fields[i], 64); err == nil {
				found[name][fields[i+1]] = append(found[name][fields[i+1]], value)
			}
		}
	}
	return found
}

// metric returns a sample, or an error that says what the benchmark lacks.
func (o outcome) metric(name, metric string) (sample, error) {
	if s := o[name][metric]; len(s) > 0 {
		return s, nil
	}
	return nil, fmt.Errorf("%s does not report %s", name, metric)
}

// fromBenchmark is a figure that a benchmark reports as one of its metrics.
type fromBenchmark struct {
	id, benchmark, metric string
	// minus is a metric to subtract, or nothing.
	minus string
	// seen are other metrics of it for the note.
	seen []string
}

// figure is what the benchmark reports for it.
func (o outcome) figure(w fromBenchmark) (sample, error) {
	s, err := o.metric(w.benchmark, w.metric)
	if err != nil || w.minus == "" {
		return s, err
	}
	less, err := o.metric(w.benchmark, w.minus)
	if err != nil {
		return nil, err
	}
	difference := make(sample, min(len(s), len(less)))
	for i := range difference {
		difference[i] = s[i] - less[i]
	}
	return difference, nil
}

// take runs benchmarks and keeps the figures that they report. A figure without a report is
// missing, which is an error.
func (b *bench) take(ctx context.Context, g goBenchmark, wanted ...fromBenchmark) error {
	found, err := g.run(ctx, b)
	if err != nil {
		for _, w := range wanted {
			b.missing(w.id, err)
		}
		return err
	}
	var failed []error
	for _, w := range wanted {
		s, err := found.figure(w)
		if err != nil {
			b.missing(w.id, err)
			failed = append(failed, err)
			continue
		}
		var notes []string
		for _, metric := range w.seen {
			notes = append(notes, short(found[w.benchmark][metric].median())+" "+metric)
		}
		b.found(w.id, s, "%s", strings.Join(notes, ", "))
	}
	return errors.Join(failed...)
}
