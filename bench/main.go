// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Bench measures the receiver's figures, each as a ratio inside one run or as a
// count, and compares them with their targets. It keeps the results in a file, from which it
// writes docs/performance.md. `make bench` and `make bench-full` run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

func main() {
	if err := mainError(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// mainError either plays a role for another bench process, or measures, or documents.
func mainError() error {
	lab.Play(roles())
	var (
		full     = flag.Bool("full", false, "also measure with real servers and peers, in network namespaces")
		only     = flag.String("only", "", "of all measurements those that match this `regexp`, whatever -full says")
		binaries = flag.String("binaries", "dist/bench", "`folder` of the test binaries, and of results.json")
		agent    = flag.String("collector", "dist/otelcol-ebpf-tcp", "the collector to measure")
		reader   = flag.String("log-reader", ".cache/filelog/otelcol-filelog", "the collector that reads access logs, to compare with")
		document = flag.String("document", "", "measure nothing, write the results as Markdown to this `file`")
	)
	flag.Parse()
	results, err := loadResults(*binaries + "/results.json")
	if err != nil {
		return err
	}
	if *document != "" {
		return writeDocument(*document, results)
	}
	chosen, err := choose(*full, *only)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("root is needed to load programs: run make bench")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{binaries: *binaries, collector: *agent, logReader: *reader, results: results}
	return b.measure(ctx, chosen)
}

// bench is one run.
type bench struct {
	// binaries is the folder of the test binaries.
	binaries string
	// collector is the path of the collector to measure.
	collector string
	// logReader is that of the collector that reads access logs.
	logReader string
	results   *results
	// current is the measurement that runs.
	current *measurement
}

// measurement makes one or more figures.
type measurement struct {
	name string
	// quick ones belong to `make bench` too.
	quick bool
	run   func(context.Context, *bench) error
}

// choose returns the measurements to make, in order.
func choose(full bool, only string) ([]measurement, error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("measurements to make: %w", err)
	}
	var chosen []measurement
	for _, m := range measurements() {
		if pattern.MatchString(m.name) && (m.quick || full || only != "") {
			chosen = append(chosen, m)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no measurement matches %q", only)
	}
	return chosen, nil
}

// measure runs the measurements and prints their figures. If one fails, the others still run.
func (b *bench) measure(ctx context.Context, chosen []measurement) error {
	var failed []error
	names := map[string]bool{}
	for _, m := range chosen {
		if ctx.Err() != nil {
			break
		}
		names[m.name] = true
		fmt.Fprintf(os.Stderr, "measuring %s …", m.name)
		start := time.Now()
		b.current = &m
		b.results.forget(m.name)
		if err := m.run(ctx, b); err != nil {
			failed = append(failed, fmt.Errorf("measure %s: %w", m.name, err))
			fmt.Fprintf(os.Stderr, " %v", err)
		}
		fmt.Fprintf(os.Stderr, " %s\n", time.Since(start).Round(time.Second))
		if err := b.results.save(); err != nil {
			return err
		}
	}
	printTable(os.Stdout, b.results, names)
	return errors.Join(append(failed, ctx.Err())...)
}
