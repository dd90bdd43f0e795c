// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/queue"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series"
)

const (
	// batchesInQueue is how many full batches the queue holds at least: a batch as
	// big as the queue would be lost whenever another is being sent.
	batchesInQueue = 4
	// abandonTime is how long a consumer has to return once its context is cancelled.
	abandonTime = 250 * time.Millisecond
)

// pipeline is the way of the facts from the kernel to the consumers: one goroutine
// that drains, and one for each consumer.
type pipeline struct {
	drain     *drain
	logs      *logSender    // nil without a logs pipeline
	metrics   *metricSender // nil without a metrics pipeline
	telemetry *metadata.TelemetryBuilder
	losses    *lossWatch
	logger    *zap.Logger

	stop   chan struct{}
	ctx    context.Context //nolint:containedctx // handed to consumers until shutdown
	cancel context.CancelFunc
}

func newPipeline(r *tcpReceiver, k kernel) (*pipeline, error) {
	report, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID:             r.set.ID,
		Transport:              transport,
		ReceiverCreateSettings: r.set,
	})
	if err != nil {
		return nil, fmt.Errorf("prepare the receiver's own metrics: %w", err)
	}
	p := &pipeline{
		losses: &lossWatch{logger: r.set.Logger, books: r.books},
		logger: r.set.Logger,
		stop:   make(chan struct{}),
	}
	h := &handler{
		books:      r.books,
		owners:     newAttribution(r.cfg.Attribution, r.cfg.Limits.Listeners, r.env.root),
		ports:      portDeltas{limit: tablesPerMap * r.cfg.Limits.PortCounters},
		tracker:    connection.NewTracker(r.cfg.Limits.Connections),
		maxRecords: r.cfg.Batch.MaxRecords,
		maxBytes:   r.cfg.Queue.MaxBytes / batchesInQueue,
	}
	last, seriesCount := &atomic.Pointer[probe.Snapshot]{}, &atomic.Int64{}
	publish := func(time.Time) {}
	hostName, err := os.Hostname()
	if err != nil {
		r.set.Logger.Warn("host.name is left out", zap.Error(err))
	}
	if r.logs != nil {
		p.logs = newLogSender(r, report, p.stop)
		h.push = p.logs.push
		h.logs = logrecord.New(r.cfg.logsConfig(), logrecord.Options{
			HostName: hostName,
			OwnNetNS: k.OwnNetNS(),
			Instance: logrecord.NewInstance(),
			Version:  r.set.BuildInfo.Version,
		})
	}
	if r.metrics != nil {
		p.metrics = newMetricSender(r, report)
		h.metrics = series.New(r.cfg.metricsConfig(), series.Options{
			HostName:    hostName,
			OwnNetNS:    k.OwnNetNS(),
			Version:     r.set.BuildInfo.Version,
			SeriesLimit: r.cfg.Limits.Series,
			Exponential: r.cfg.Histograms == histogramsExponential,
			Expiry:      r.cfg.MetricExpiration,
		})
		limit := &seriesWatch{warn: &limitedWarning{logger: r.set.Logger}, limit: r.cfg.Limits.Series}
		publish = func(now time.Time) {
			limit.check(h.metrics.Refused())
			p.metrics.latest.Put(h.metrics.Snapshot(now))
			seriesCount.Store(int64(h.metrics.SeriesCount()))
		}
	}
	p.drain = &drain{
		kernel:    k,
		handler:   h,
		books:     r.books,
		interval:  r.cfg.CollectionInterval,
		maxAge:    r.cfg.Batch.MaxAge,
		flushTime: r.env.flushTime,
		warn:      &limitedWarning{logger: r.set.Logger},
		losses:    p.losses,
		publish:   publish,
		last:      last,
		finished:  make(chan struct{}),
	}
	p.telemetry, err = (&telemetry{
		receiver:    r.set.ID,
		books:       r.books,
		last:        last,
		series:      seriesCount,
		seriesLimit: r.cfg.Limits.Series,
		logs:        p.logs,
	}).register(r.set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("register the internal metrics: %w", err)
	}
	return p, nil
}

func newLogSender(r *tcpReceiver, report *receiverhelper.ObsReport, stopping <-chan struct{}) *logSender {
	return &logSender{
		next:     r.logs,
		retry:    r.cfg.Retry,
		report:   report,
		books:    r.books,
		queue:    queue.New[logrecord.Batch](r.cfg.Queue.MaxBytes),
		warn:     &limitedWarning{logger: r.set.Logger},
		stopping: stopping,
		finished: make(chan struct{}),
	}
}

func newMetricSender(r *tcpReceiver, report *receiverhelper.ObsReport) *metricSender {
	return &metricSender{
		next:     r.metrics,
		report:   report,
		latest:   queue.NewSlot[[]pmetric.Metrics](),
		warn:     &limitedWarning{logger: r.set.Logger},
		finished: make(chan struct{}),
	}
}

func (p *pipeline) start() {
	p.ctx, p.cancel = context.WithCancel(context.Background())
	go p.drain.run(p.stop)
	if p.logs != nil {
		go p.logs.run(p.ctx)
	}
	if p.metrics != nil {
		go p.metrics.run(p.ctx)
	}
}

// shutdown waits for the drain, then for the consumers until the flush time has passed
// or ctx is done. A consumer that does not come back even then is left behind.
func (p *pipeline) shutdown(ctx context.Context, flushTime time.Duration) error {
	defer p.telemetry.Shutdown()
	defer p.cancel()
	close(p.stop)
	<-p.drain.finished
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	finished := p.closeSenders()
	if !wait(ctx.Done(), finished) {
		p.cancel()
		grace := time.NewTimer(abandonTime)
		defer grace.Stop()
		if !wait(grace.C, finished) {
			p.logger.Warn("a consumer does not return, though its context is cancelled; it is left behind")
		}
	}
	if p.logs != nil {
		p.logs.abandon()
	}
	p.losses.last()
	logBooks(p.logger, p.losses.books)
	return p.drain.err
}

// closeSenders lets the senders end after what they have, and returns the channels
// that tell when.
func (p *pipeline) closeSenders() []<-chan struct{} {
	var finished []<-chan struct{}
	if p.logs != nil {
		p.logs.queue.Close()
		finished = append(finished, p.logs.finished)
	}
	if p.metrics != nil {
		p.metrics.latest.Close()
		finished = append(finished, p.metrics.finished)
	}
	return finished
}

// wait reports whether all channels were closed before the limit fired.
func wait[T any](limit <-chan T, finished []<-chan struct{}) bool {
	for _, f := range finished {
		select {
		case <-f:
		case <-limit:
			return false
		}
	}
	return true
}
