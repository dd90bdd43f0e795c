// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"sync"
	"time"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/cmd/ebpf-tcp/internal/agent"
	"github.com/ebpftcp/ebpftcpreceiver/cmd/ebpf-tcp/internal/terminal"
	"github.com/ebpftcp/ebpftcpreceiver/internal/view/model"
	"github.com/ebpftcp/ebpftcpreceiver/internal/view/screen"
)

// top shows the live model: on the terminal until it is left, or once as text.
func top(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("ebpf-tcp top", flag.ContinueOnError)
	flags.SetOutput(errs)
	var s selection
	s.define(flags)
	once := flags.Bool("once", false, "observe for -for, print all tables as text, and end")
	observe := flags.Duration("for", 5*time.Second, "with -once: for how `long`")
	if code, ends := parse(flags, args); ends {
		return code
	}
	if *observe <= 0 {
		fmt.Fprintln(errs, "ebpf-tcp top: -for: must be above 0")
		return exitUsage
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Warnings must not write into the tables.
	var warnings buffer
	m := model.New(time.Now)
	internals := agent.NewInternals()
	started := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		defer stop()
		done <- observeInto(ctx, m, started, internals, &s, &warnings)
	}()
	state := func() *screen.State {
		hooks, losses := internals.Read(ctx)
		return &screen.State{Snapshot: m.Snapshot(), Hooks: hooks, Losses: losses}
	}
	var err error
	if *once {
		err = printOnce(ctx, started, *observe, out, state)
	} else {
		err = terminal.Run(ctx, screen.Views(), state)
	}
	stop()
	if failed := <-done; failed != nil {
		err = failed
	}
	_, _ = warnings.WriteTo(errs)
	if err != nil {
		fmt.Fprintln(errs, "ebpf-tcp top:", err)
		return exitRefused
	}
	return exitOK
}

// observeInto runs the receiver until the context ends.
func observeInto(
	ctx context.Context, m *model.Model, started chan<- struct{}, internals *agent.Internals, s *selection, warnings io.Writer,
) error {
	logs, err := consumer.NewLogs(func(_ context.Context, ld plog.Logs) error { m.Logs(ld); return nil })
	if err != nil {
		return err
	}
	metrics, err := consumer.NewMetrics(func(_ context.Context, md pmetric.Metrics) error { m.Metrics(md); return nil })
	if err != nil {
		return err
	}
	cfg := s.receiver()
	cfg["collection_interval"] = "1s"
	// There is one host, so its name says nothing.
	cfg["resource_attributes"] = map[string]any{"host.name": map[string]any{"enabled": false}}
	return agent.Run(ctx, agent.Settings{
		Receiver: cfg, Findings: s.findings, Logs: logs, Metrics: metrics, Started: started,
		Internals: internals, Logger: newLogger(warnings),
	})
}

// printOnce prints what was observed for a while after the start. If it ends sooner, it prints
// what there is.
func printOnce(
	ctx context.Context, started <-chan struct{}, after time.Duration, out io.Writer, state func() *screen.State,
) error {
	select {
	case <-ctx.Done():
		return nil
	case <-started:
	}
	select {
	case <-ctx.Done():
	case <-time.After(after):
	}
	return screen.Write(out, screen.Views(), state())
}

// buffer is a bytes.Buffer for several goroutines, which keeps the beginning.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// maxWarnings bounds what is kept.
const maxWarnings = 64 << 10

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.b.Len()+len(p) <= maxWarnings {
		b.b.Write(p)
	}
	return len(p), nil
}

// WriteTo implements io.WriterTo.
func (b *buffer) WriteTo(w io.Writer) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.WriteTo(w)
}
