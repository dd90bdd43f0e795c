// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/sharedcomponent"
)

// Config is the connector's configuration.
type Config = settings.Config

func createDefaultConfig() *Config { return settings.Default() }

// Modes of the configuration.
const (
	modeOff     = settings.Off
	modeDryRun  = settings.DryRun
	modeLimit   = settings.Limit
	modeEnforce = settings.Enforce
)

// NewFactory creates the factory of the ebpf_tcp_guard connector. The connectors of one
// configuration, to logs and to metrics, share one guard.
func NewFactory() connector.Factory { return newFactory(hostSide()) }

func newFactory(host machine) connector.Factory {
	f := &factory{host: host, shared: sharedcomponent.NewMap[*Config, *keeper]()}
	return connector.NewFactory(
		metadata.Type,
		func() component.Config { return createDefaultConfig() },
		connector.WithLogsToLogs(f.createLogs, metadata.LogsToLogsStability),
		connector.WithLogsToMetrics(f.createMetrics, metadata.LogsToMetricsStability),
	)
}

// factory keeps the guards that are not shut down yet.
type factory struct {
	host   machine
	shared *sharedcomponent.Map[*Config, *keeper]
}

func (f *factory) createLogs(
	_ context.Context, set connector.Settings, cfg component.Config, next consumer.Logs,
) (connector.Logs, error) {
	c, err := f.keeper(set, cfg)
	if err != nil {
		return nil, err
	}
	c.Unwrap().logs = next
	return &toLogs{c}, nil
}

func (f *factory) createMetrics(
	_ context.Context, set connector.Settings, cfg component.Config, next consumer.Metrics,
) (connector.Logs, error) {
	c, err := f.keeper(set, cfg)
	if err != nil {
		return nil, err
	}
	c.Unwrap().metrics = next
	return &toMetrics{c}, nil
}

func (f *factory) keeper(set connector.Settings, cfg component.Config) (*sharedcomponent.Component[*keeper], error) {
	c, ok := cfg.(*Config)
	if !ok {
		return nil, fmt.Errorf("configuration of type %T, not of the ebpf_tcp_guard connector", cfg)
	}
	return f.shared.LoadOrCreate(c, func() (*keeper, error) { return newKeeper(c, set, f.host), nil })
}
