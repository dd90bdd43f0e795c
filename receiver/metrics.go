// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/queue"
)

// metricSender hands the latest snapshot to the next consumer. A refused one is not
// tried again: the next supersedes it.
type metricSender struct {
	next   consumer.Metrics
	report *receiverhelper.ObsReport
	latest *queue.Slot[[]pmetric.Metrics]
	warn   *limitedWarning
	// finished is closed when run returns.
	finished chan struct{}
}

// run sends snapshots until the slot is closed and empty.
func (s *metricSender) run(ctx context.Context) {
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

func (s *metricSender) send(ctx context.Context, metrics pmetric.Metrics) {
	if ctx.Err() != nil {
		return
	}
	points := metrics.DataPointCount()
	op := s.report.StartMetricsOp(ctx)
	err := s.next.ConsumeMetrics(op, metrics)
	s.report.EndMetricsOp(op, transport, points, err)
	if err != nil {
		s.warn.log("a metric snapshot was refused; the next one replaces it", zap.Error(err))
	}
}
