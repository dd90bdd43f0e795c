// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"context"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/internal/sharedcomponent"
)

// NewFactory creates the factory of the ebpf_tcp_threats connector. The connectors of one
// configuration, to logs and to metrics, share one state.
func NewFactory(options ...Option) connector.Factory { return newFactory(hostClock(), options...) }

func newFactory(clock clock, options ...Option) connector.Factory {
	f := &factory{clock: clock, shared: sharedcomponent.NewMap[*Config, *judge]()}
	for _, option := range options {
		option(f)
	}
	return connector.NewFactory(
		metadata.Type,
		func() component.Config { return createDefaultConfig() },
		connector.WithLogsToLogs(f.createLogs, metadata.LogsToLogsStability),
		connector.WithLogsToMetrics(f.createMetrics, metadata.LogsToMetricsStability),
	)
}

// factory keeps the states that are not shut down yet.
type factory struct {
	clock  clock
	shared *sharedcomponent.Map[*Config, *judge]
	// payload is nil without an engine for payload_signature.
	payload func(PayloadSettings) (PayloadEngine, error)
}

func (f *factory) createLogs(
	_ context.Context, set connector.Settings, cfg component.Config, next consumer.Logs,
) (connector.Logs, error) {
	c, err := f.judge(set, cfg)
	if err != nil {
		return nil, err
	}
	c.Unwrap().logs = next
	return &toLogs{c}, nil
}

func (f *factory) createMetrics(
	_ context.Context, set connector.Settings, cfg component.Config, next consumer.Metrics,
) (connector.Logs, error) {
	c, err := f.judge(set, cfg)
	if err != nil {
		return nil, err
	}
	c.Unwrap().metrics = next
	return &toMetrics{c}, nil
}

func (f *factory) judge(set connector.Settings, cfg component.Config) (*sharedcomponent.Component[*judge], error) {
	c, ok := cfg.(*Config)
	if !ok {
		return nil, fmt.Errorf("configuration of type %T, not of the ebpf_tcp_threats connector", cfg)
	}
	return f.shared.LoadOrCreate(c, func() (*judge, error) { return newJudge(c, set, f.clock, f.payload), nil })
}
