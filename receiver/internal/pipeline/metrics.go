// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series"
)

// MetricSender hands the latest snapshot to the next consumer. A refused snapshot is not
// retried: the next one supersedes it.
type MetricSender struct {
	next   consumer.Metrics
	report *receiverhelper.ObsReport
	series *series.Metrics
	latest *slot[[]pmetric.Metrics]
	warn   *limitedWarning
	// refused warns of observations that go into the overflow series.
	refused seriesWatch
	count   atomic.Int64
	// finished is closed when run returns.
	finished chan struct{}
}

// MetricOptions configure a MetricSender.
type MetricOptions struct {
	Next   consumer.Metrics
	Report *receiverhelper.ObsReport
	Series *series.Metrics
	// SeriesLimit is the one that Series was given.
	SeriesLimit int
	Logger      *zap.Logger
}

// NewMetricSender makes a MetricSender that has nothing to send.
func NewMetricSender(options MetricOptions) *MetricSender {
	return &MetricSender{
		next:     options.Next,
		report:   options.Report,
		series:   options.Series,
		latest:   newSlot[[]pmetric.Metrics](),
		warn:     &limitedWarning{logger: options.Logger},
		refused:  seriesWatch{warn: &limitedWarning{logger: options.Logger}, limit: options.SeriesLimit},
		finished: make(chan struct{}),
	}
}

// SeriesCount is the number of series of the metric that had most of them in the latest
// snapshot.
func (s *MetricSender) SeriesCount() int64 { return s.count.Load() }

// publish takes a snapshot of the series, which is sent next.
func (s *MetricSender) publish(now time.Time) {
	s.refused.check(s.series.Refused())
	s.latest.Put(s.series.Snapshot(now))
	s.count.Store(int64(s.series.SeriesCount()))
}

// run sends snapshots until the slot is closed and empty.
func (s *MetricSender) run(ctx context.Context) {
	defer close(s.finished)
	for {
		snapshot, ok := s.latest.Take()
		if !ok {
			return
		}
		for _, message := range snapshot {
			s.send(ctx, message)
		}
	}
}

func (s *MetricSender) send(ctx context.Context, metrics pmetric.Metrics) {
	if ctx.Err() != nil {
		return
	}
	points := metrics.DataPointCount()
	op := s.report.StartMetricsOp(ctx)
	err := s.next.ConsumeMetrics(op, metrics)
	s.report.EndMetricsOp(op, Transport, points, err)
	if err != nil {
		s.warn.log("a metric snapshot was refused; the next one replaces it", zap.Error(err))
	}
}
