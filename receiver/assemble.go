// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"fmt"
	"os"

	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/observe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/pipeline"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/tlsview"
)

// parts make up a started receiver, with the kernel side.
type parts struct {
	observer  *observe.Observer
	pipeline  *pipeline.Pipeline
	telemetry *metadata.TelemetryBuilder
}

// maxBatchWithBodies keeps batches with bodies below the 4 MiB that OTLP servers accept in one
// message. The last record of a batch exceeds it.
const maxBatchWithBodies = 2 << 20

// maxUpdates bounds the tcp.server.connection.update records of one snapshot.
const maxUpdates = 1000

// assemble makes the parts, each with its part of the configuration.
func (r *tcpReceiver) assemble(k pipeline.Kernel) (*parts, error) {
	report, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID:             r.set.ID,
		Transport:              pipeline.Transport,
		ReceiverCreateSettings: r.set,
	})
	if err != nil {
		return nil, fmt.Errorf("prepare the receiver's own metrics: %w", err)
	}
	hostName, err := os.Hostname()
	if err != nil {
		r.set.Logger.Warn("host.name is left out", zap.Error(err))
	}
	observed := observe.Options{
		Ledger:       r.ledger,
		Attribution:  observe.Attribution{Process: r.cfg.Attribution.Process, Container: r.cfg.Attribution.Container},
		Connections:  r.cfg.Limits.Connections,
		Listeners:    r.cfg.Limits.Listeners,
		PortCounters: r.cfg.Limits.PortCounters,
		Root:         r.env.root,
		MaxRecords:   r.cfg.Batch.MaxRecords,
	}
	var f check.Faults
	observed.Networks = check.Networks(&f, r.cfg.Clients.Networks)
	kernel := r.cfg.probeConfig(&f)
	observed.Selected = kernel.Selects()
	if r.cfg.Inspect.On() {
		observed.Requests = httpview.New(r.cfg.Inspect.View(&f))
		observed.Handshakes = tlsview.New(r.cfg.Inspect.TLS.View(&f))
	}
	if len(f) > 0 {
		return nil, errors.Join(f...)
	}
	run := pipeline.Options{
		Kernel:    k,
		Ledger:    r.ledger,
		Logger:    r.set.Logger,
		Interval:  r.cfg.CollectionInterval,
		MaxAge:    r.cfg.Batch.MaxAge,
		FlushTime: r.env.flushTime,
	}
	if r.logs != nil {
		run.Logs = r.newLogSender(report)
		observed.Push, observed.MaxBytes = run.Logs.Push, run.Logs.MaxBatchBytes()
		if r.cfg.Inspect.WithBodies() {
			observed.MaxBytes = min(observed.MaxBytes, maxBatchWithBodies)
		}
		observed.Updates.Interval, observed.Updates.PerPass = r.cfg.Connections.UpdateInterval, maxUpdates
		observed.Logs = logrecord.New(r.cfg.logsConfig(), logrecord.Options{
			HostName: hostName,
			OwnNetNS: k.OwnNetNS(),
			Instance: logrecord.NewInstance(),
			Version:  r.set.BuildInfo.Version,
		})
	}
	if r.metrics != nil {
		observed.Metrics = series.New(r.cfg.metricsConfig(), series.Options{
			HostName:    hostName,
			OwnNetNS:    k.OwnNetNS(),
			Version:     r.set.BuildInfo.Version,
			SeriesLimit: r.cfg.Limits.Series,
			Exponential: r.cfg.Histograms == histogramsExponential,
			FromZero:    r.cfg.SeriesStartAtZero,
			Expiry:      r.cfg.MetricExpiration,
		})
		run.Metrics = r.newMetricSender(report, observed.Metrics)
	}
	run.Observer = observe.New(observed)
	p := &parts{observer: run.Observer, pipeline: pipeline.New(run)}
	p.telemetry, err = (&telemetry{
		receiver:    r.set.ID,
		ledger:      r.ledger,
		pipeline:    p.pipeline,
		logs:        run.Logs,
		metrics:     run.Metrics,
		requests:    observed.Requests,
		seriesLimit: r.cfg.Limits.Series,
	}).register(r.set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("register the internal metrics: %w", err)
	}
	return p, nil
}

func (r *tcpReceiver) newLogSender(report *receiverhelper.ObsReport) *pipeline.LogSender {
	return pipeline.NewLogSender(pipeline.LogOptions{
		Next:       r.logs,
		Report:     report,
		Ledger:     r.ledger,
		Retry:      r.cfg.Retry,
		QueueBytes: r.cfg.Queue.MaxBytes,
		Logger:     r.set.Logger,
	})
}

func (r *tcpReceiver) newMetricSender(report *receiverhelper.ObsReport, of *series.Metrics) *pipeline.MetricSender {
	return pipeline.NewMetricSender(pipeline.MetricOptions{
		Next:        r.metrics,
		Report:      report,
		Series:      of,
		SeriesLimit: r.cfg.Limits.Series,
		Logger:      r.set.Logger,
	})
}
