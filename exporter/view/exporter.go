// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/exporter/view/internal/page"
	"github.com/ebpftcp/ebpftcpreceiver/internal/sharedcomponent"
	"github.com/ebpftcp/ebpftcpreceiver/internal/view/model"
)

// logs and metrics are the two faces of an exporter.
type (
	logs struct {
		*sharedcomponent.Component[*viewExporter]
	}
	metrics struct {
		*sharedcomponent.Component[*viewExporter]
	}
)

// Capabilities implements consumer.Logs: what comes in is only read.
func (*logs) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// ConsumeLogs implements consumer.Logs. It never refuses.
func (l *logs) ConsumeLogs(_ context.Context, ld plog.Logs) error {
	l.Unwrap().model.Logs(ld)
	return nil
}

// Capabilities implements consumer.Metrics: what comes in is only read.
func (*metrics) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// ConsumeMetrics implements consumer.Metrics. It never refuses.
func (m *metrics) ConsumeMetrics(_ context.Context, md pmetric.Metrics) error {
	m.Unwrap().model.Metrics(md)
	return nil
}

// viewExporter serves the page of one configuration.
type viewExporter struct {
	cfg   *Config
	set   exporter.Settings
	model *model.Model

	server  *http.Server
	stop    context.CancelFunc
	running sync.WaitGroup
}

func newExporter(cfg *Config, set exporter.Settings) *viewExporter {
	return &viewExporter{cfg: cfg, set: set, model: model.New(time.Now)}
}

// Start listens. The context is not kept.
func (e *viewExporter) Start(ctx context.Context, host component.Host) error {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := page.New(page.Settings{Model: e.model, Hosts: e.cfg.Page.Hosts, Endpoint: e.cfg.HTTP.NetAddr.Endpoint, MaxViewers: e.cfg.Page.MaxViewers})
	server, err := e.cfg.HTTP.ToServer(ctx, host.GetExtensions(), e.set.TelemetrySettings, p)
	if err != nil {
		stop()
		return fmt.Errorf("prepare the server of the page: %w", err)
	}
	listener, err := e.cfg.HTTP.ToListener(ctx)
	if err != nil {
		stop()
		return fmt.Errorf("listen for viewers at %s: %w", e.cfg.HTTP.NetAddr.Endpoint, err)
	}
	e.server, e.stop = server, stop
	e.set.Logger.Info("The live view is served", zap.Stringer("address", listener.Addr()))
	e.running.Go(func() { p.Run(ctx) })
	e.running.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			e.set.Logger.Error("The live view is no longer served", zap.Error(err))
		}
	})
	return nil
}

// Shutdown ends all viewers' connections.
func (e *viewExporter) Shutdown(context.Context) error {
	if e.server == nil {
		return nil
	}
	e.stop()
	err := e.server.Close()
	e.running.Wait()
	e.server = nil
	return err
}
