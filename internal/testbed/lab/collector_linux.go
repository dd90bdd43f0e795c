// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Launch says which collector to run, where and how.
type Launch struct {
	Program   string
	Arguments []string
	In        Namespace
	// Configuration lacks only the telemetry section, which is added at its end.
	Configuration string
	// Telemetry is the port on loopback that the collector serves its own metrics at; 0 if
	// the configuration lacks nothing.
	Telemetry int
	// Level of the collector's own metrics; "normal" if empty.
	Level string
}

// Collector is a running collector.
type Collector struct {
	*Process
	// In is where it runs.
	In Namespace
	// Telemetry is the port of its own metrics on loopback of In.
	Telemetry int
	level     string
	folder    string
}

// StartCollector runs a collector and waits until its pipelines run.
func StartCollector(ctx context.Context, l Launch) (*Collector, error) {
	folder, err := os.MkdirTemp("", "ebpf-tcp-lab-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for a collector: %w", err)
	}
	c := &Collector{In: l.In, Telemetry: l.Telemetry, level: l.Level, folder: folder}
	if err := c.launch(ctx, l); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Collector) launch(ctx context.Context, l Launch) error {
	if err := c.Configure(l.Configuration); err != nil {
		return err
	}
	log, err := os.Create(c.log())
	if err != nil {
		return fmt.Errorf("make a log: %w", err)
	}
	defer log.Close()
	cmd := l.In.Command(l.Program, append([]string{"--config", c.config()}, l.Arguments...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if c.Process, err = Start(cmd); err != nil {
		return err
	}
	c.Name = filepath.Base(l.Program)
	err = c.Wait(ctx, "ready", func() (bool, error) {
		starts, err := c.Starts()
		return starts > 0, err
	})
	if err != nil {
		said, _ := c.Said()
		return errors.Join(err, errors.New(said))
	}
	return nil
}

func (c *Collector) config() string { return filepath.Join(c.folder, "config.yaml") }

func (c *Collector) log() string { return filepath.Join(c.folder, "log") }

// Configure writes the configuration, which a running collector reads when it is reloaded.
func (c *Collector) Configure(configuration string) error {
	if c.Telemetry != 0 {
		level := c.level
		if level == "" {
			level = "normal"
		}
		configuration += fmt.Sprintf(`
  telemetry:
    metrics:
      level: %s
      readers:
        - pull: {exporter: {prometheus: {host: 127.0.0.1, port: %d}}}
`, level, c.Telemetry)
	}
	if err := os.WriteFile(c.config(), []byte(configuration), 0o600); err != nil {
		return fmt.Errorf("write a configuration: %w", err)
	}
	return nil
}

// Said is what the collector has logged so far.
func (c *Collector) Said() (string, error) {
	text, err := os.ReadFile(c.log())
	if err != nil {
		return "", fmt.Errorf("read the log of a collector: %w", err)
	}
	return string(text), nil
}

// Starts counts how often its pipelines began to run.
func (c *Collector) Starts() (int, error) {
	said, err := c.Said()
	return strings.Count(said, "Everything is ready"), err
}

// Metrics are the collector's own.
func (c *Collector) Metrics(ctx context.Context) ([]Metric, error) {
	return c.In.Scrape(ctx, c.Telemetry)
}

// Sum adds up the collector's own metrics of that name that have the given labels, each
// followed by its value. It is an error if there is none.
func (c *Collector) Sum(ctx context.Context, name string, labels ...string) (float64, error) {
	all, err := c.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	total, found := 0.0, false
	for _, m := range all {
		if m.Name == name && m.Has(labels...) {
			total, found = total+m.Value, true
		}
	}
	if !found {
		return 0, fmt.Errorf("the collector has no metric %s%v", name, labels)
	}
	return total, nil
}

// Ledger is the receiver's, for all events.
func (c *Collector) Ledger(ctx context.Context) (Ledger, error) {
	all, err := c.Metrics(ctx)
	return LedgerOf(all), err
}

// Balance waits until the ledger balances and meets a condition, and returns it.
func (c *Collector) Balance(ctx context.Context, condition func(Ledger) bool) (l Ledger, err error) {
	err = c.Wait(ctx, "at rest", func() (bool, error) {
		if l, err = c.Ledger(ctx); err != nil {
			return false, err
		}
		return l.Balanced() && condition(l), nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: the ledger is %+v", err, l)
	}
	return l, nil
}

// Stop asks the collector to end and waits. It is an error if it ends badly. It may be
// called again.
func (c *Collector) Stop() error {
	if err := c.Process.Stop(syscall.SIGTERM); err != nil {
		return err
	}
	if c.err != nil {
		return fmt.Errorf("%s ended badly: %w", c.Name, c.err)
	}
	return nil
}

// Close stops the collector if it runs, and removes its log. It may be called again.
func (c *Collector) Close() error {
	var err error
	if c.Process != nil {
		err = c.Stop()
	}
	return errors.Join(err, os.RemoveAll(c.folder))
}
