// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"

	"github.com/ebpftcp/ebpftcpreceiver/exporter/view/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/internal/sharedcomponent"
)

// NewFactory creates the factory of the ebpf_tcp_view exporter. The exporters of one
// configuration, for logs and for metrics, share one page.
func NewFactory() exporter.Factory {
	f := &factory{shared: sharedcomponent.NewMap[*Config, *viewExporter]()}
	return exporter.NewFactory(
		metadata.Type,
		func() component.Config { return createDefaultConfig() },
		exporter.WithLogs(f.createLogs, metadata.LogsStability),
		exporter.WithMetrics(f.createMetrics, metadata.MetricsStability),
	)
}

// factory keeps the exporters that are not shut down yet.
type factory struct {
	shared *sharedcomponent.Map[*Config, *viewExporter]
}

func (f *factory) createLogs(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Logs, error) {
	e, err := f.exporter(set, cfg)
	if err != nil {
		return nil, err
	}
	return &logs{e}, nil
}

func (f *factory) createMetrics(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Metrics, error) {
	e, err := f.exporter(set, cfg)
	if err != nil {
		return nil, err
	}
	return &metrics{e}, nil
}

func (f *factory) exporter(set exporter.Settings, cfg component.Config) (*sharedcomponent.Component[*viewExporter], error) {
	return f.shared.LoadOrCreate(cfg.(*Config), func() (*viewExporter, error) {
		return newExporter(cfg.(*Config), set), nil
	})
}
