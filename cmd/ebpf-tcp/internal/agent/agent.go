// SPDX-License-Identifier: Apache-2.0

// Package agent runs the receiver and the connector for findings in this process, without a
// collector.
package agent

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	rcvr "go.opentelemetry.io/collector/receiver"
	trace "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats"
	"github.com/ebpftcp/ebpftcpreceiver/receiver"
)

// Settings say what runs, and who gets the telemetry.
type Settings struct {
	// Receiver is its configuration, with the keys of docs/configuration.md.
	Receiver map[string]any
	// Findings runs the connector for findings, with its defaults.
	Findings bool
	// Logs gets the receiver's records and the findings. Metrics gets its metrics; nil is none.
	Logs    consumer.Logs
	Metrics consumer.Metrics
	// Started is closed when all programs are attached; nil if nobody wants to know.
	Started chan<- struct{}
	// Internals gets what the receiver says of itself; nil is nobody.
	Internals *Internals
	Logger    *zap.Logger
}

// Run observes until the context ends, or until the receiver says that it can't go on. It returns
// what made it fail.
func Run(ctx context.Context, s Settings) error {
	set := component.TelemetrySettings{
		Logger:         s.Logger,
		TracerProvider: trace.NewTracerProvider(),
		MeterProvider:  s.Internals.meters(),
		Resource:       pcommon.NewResource(),
	}
	parts, err := build(ctx, s, set)
	if err != nil {
		return err
	}
	h := &host{internals: s.Internals, failed: make(chan error, 1)}
	for i, part := range parts {
		if err := part.Start(ctx, h); err != nil {
			return errors.Join(err, shutdown(ctx, parts[:i]))
		}
	}
	if s.Started != nil {
		close(s.Started)
	}
	select {
	case <-ctx.Done():
	case err = <-h.failed:
	}
	return errors.Join(err, shutdown(ctx, parts))
}

// shutdown stops what gives records before what takes them. The context may have ended.
func shutdown(ctx context.Context, parts []component.Component) error {
	var errs []error
	for i := len(parts) - 1; i >= 0; i-- {
		errs = append(errs, parts[i].Shutdown(context.WithoutCancel(ctx)))
	}
	return errors.Join(errs...)
}

// build returns the components in the order in which they start: each after the one that takes
// its records.
func build(ctx context.Context, s Settings, set component.TelemetrySettings) ([]component.Component, error) {
	var parts []component.Component
	logs := s.Logs
	if s.Findings {
		findings, err := newFindings(ctx, s.Logs, set)
		if err != nil {
			return nil, err
		}
		parts = append(parts, findings)
		if logs, err = both(s.Logs, findings); err != nil {
			return nil, err
		}
	}
	receivers, err := newReceivers(ctx, s, logs, set)
	return append(parts, receivers...), err
}

func newFindings(ctx context.Context, next consumer.Logs, set component.TelemetrySettings) (connector.Logs, error) {
	f := threats.NewFactory()
	c, err := f.CreateLogsToLogs(ctx, connector.Settings{
		ID: component.NewID(f.Type()), TelemetrySettings: set,
	}, f.CreateDefaultConfig(), next)
	if err != nil {
		return nil, fmt.Errorf("create the connector for findings: %w", err)
	}
	return c, nil
}

// both gives each batch to two consumers that don't change it. An error of the second is the
// second's own.
func both(first, second consumer.Logs) (consumer.Logs, error) {
	return consumer.NewLogs(func(ctx context.Context, ld plog.Logs) error {
		return errors.Join(first.ConsumeLogs(ctx, ld), second.ConsumeLogs(ctx, ld))
	})
}

func newReceivers(
	ctx context.Context, s Settings, logs consumer.Logs, set component.TelemetrySettings,
) ([]component.Component, error) {
	f := receiver.NewFactory()
	cfg := f.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(s.Receiver).Unmarshal(cfg); err != nil {
		return nil, err
	}
	if err := cfg.(*receiver.Config).Validate(); err != nil {
		return nil, err
	}
	settings := rcvr.Settings{ID: component.NewID(f.Type()), TelemetrySettings: set}
	toLogs, err := f.CreateLogs(ctx, settings, cfg, logs)
	if err != nil {
		return nil, fmt.Errorf("create the receiver: %w", err)
	}
	parts := []component.Component{toLogs}
	if s.Metrics != nil {
		toMetrics, err := f.CreateMetrics(ctx, settings, cfg, s.Metrics)
		if err != nil {
			return nil, fmt.Errorf("create the receiver: %w", err)
		}
		parts = append(parts, toMetrics)
	}
	return parts, nil
}

// host is the components' host. It notes what makes the receiver give up.
type host struct {
	internals *Internals
	failed    chan error
}

// GetExtensions implements component.Host.
func (*host) GetExtensions() map[component.ID]component.Component { return nil }

// Report implements componentstatus.Reporter.
func (h *host) Report(event *componentstatus.Event) {
	h.internals.note(event)
	switch event.Status() {
	case componentstatus.StatusPermanentError, componentstatus.StatusFatalError:
		select {
		case h.failed <- event.Err():
		default: // the first is enough
		}
	}
}
