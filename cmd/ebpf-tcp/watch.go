// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/cmd/ebpf-tcp/internal/agent"
	"github.com/ebpftcp/ebpftcpreceiver/internal/view/event"
	"github.com/ebpftcp/ebpftcpreceiver/internal/view/filter"
	"github.com/ebpftcp/ebpftcpreceiver/internal/view/line"
)

// watch prints a line for each event until it is stopped.
func watch(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("ebpf-tcp watch", flag.ContinueOnError)
	flags.SetOutput(errs)
	var s selection
	s.define(flags)
	var f filter.Filter
	flags.StringVar(&f.Process, "process", "", "only services whose executable has this `name`; * stands for any text")
	flags.BoolVar(&f.Failed, "failed", false, "only what failed, and findings")
	flags.DurationVar(&f.Slow, "slow", 0, "only connections and requests that took this `long` or longer")
	asJSON := flags.Bool("json", false, "write each event as a JSON object with all its attributes")
	if code, ends := parse(flags, args); ends {
		return code
	}
	if err := f.Check(); err != nil {
		fmt.Fprintln(errs, "ebpf-tcp watch: -process:", err)
		return exitUsage
	}
	write := printLine
	if *asJSON {
		write = printJSON
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p := newPrinter(out, stop)
	logs, err := consumer.NewLogs(func(_ context.Context, ld plog.Logs) error {
		each(ld, func(e *event.Event, record plog.LogRecord) {
			if f.Wants(e) {
				p.print(write(e, record))
			}
		})
		return nil
	})
	if err == nil {
		err = agent.Run(ctx, agent.Settings{
			Receiver: s.receiver(), Findings: s.findings, Logs: logs, Logger: newLogger(errs),
		})
	}
	if left := p.close(); left > 0 {
		fmt.Fprintf(errs, "ebpf-tcp watch: %d lines were left out: the output was too slow\n", left)
	}
	if err != nil {
		fmt.Fprintln(errs, "ebpf-tcp watch:", err)
		return exitRefused
	}
	return exitOK
}

// each reads all records of a batch.
func each(ld plog.Logs, read func(*event.Event, plog.LogRecord)) {
	for _, resource := range ld.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				e := event.Read(resource.Resource(), record)
				read(&e, record)
			}
		}
	}
}

func printLine(e *event.Event, _ plog.LogRecord) string { return line.Of(e) }

// printJSON gives the attributes as they are. The receiver has cleaned its strings.
func printJSON(e *event.Event, record plog.LogRecord) string {
	text, err := json.Marshal(struct {
		Time       string         `json:"time"`
		Event      string         `json:"event"`
		Host       string         `json:"host,omitempty"`
		Container  string         `json:"container,omitempty"`
		Attributes map[string]any `json:"attributes"`
	}{e.Time.Format(timeFormat), e.Name, e.Host, e.Container, record.Attributes().AsRaw()})
	if err != nil {
		// Only what JSON can't hold, such as a number that is none.
		return fmt.Sprintf(`{"event":%q,"error":%q}`, e.Name, err)
	}
	return string(text)
}

const timeFormat = "2006-01-02T15:04:05.000000Z07:00"
