// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series"
)

// MetricSender hands the latest snapshot to the next consumer. A refused snapshot is not
// retried: the next one supersedes it, and series begin again that began in the refused one.
type MetricSender struct {
	next   consumer.Metrics
	report *receiverhelper.ObsReport
	series *series.Metrics
	latest *slot[built]
	// undelivered is what the series do not know of yet.
	undelivered undelivered
	warn        *limitedWarning
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
		latest:   newSlot[built](),
		warn:     &limitedWarning{logger: options.Logger},
		refused:  seriesWatch{warn: &limitedWarning{logger: options.Logger}, limit: options.SeriesLimit},
		finished: make(chan struct{}),
	}
}

// SeriesCount is the number of series of the metric that had most of them in the latest
// snapshot.
func (s *MetricSender) SeriesCount() int64 { return s.count.Load() }

// built is a snapshot, and how many refusals the series knew of when it was made.
type built struct {
	messages []series.Message
	refusals int
}

// undelivered passes what began in refused messages from the sender to the goroutine that owns the
// series.
type undelivered struct {
	mu       sync.Mutex
	begun    []series.Begun
	refusals int
}

// add adds a message that reached nobody.
func (u *undelivered) add(message series.Message) {
	if len(message.Begun) == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.begun = append(u.begun, message.Begun)
	u.refusals++
}

// take returns what was added since the last call, and how many messages were added so far.
func (u *undelivered) take() ([]series.Begun, int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	begun := u.begun
	u.begun = nil
	return begun, u.refusals
}

// known reports whether the series knew of all refusals when a snapshot was made.
func (u *undelivered) known(snapshot built) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return snapshot.refusals == u.refusals
}

// publish takes a snapshot of the series, which is sent next. It replaces one that was not sent.
func (s *MetricSender) publish(now time.Time) {
	s.refused.check(s.series.Refused())
	begun, refusals := s.undelivered.take()
	for _, of := range begun {
		s.series.NotBegun(of)
	}
	for _, message := range s.latest.Withdraw().messages {
		s.series.NotBegun(message.Begun)
	}
	s.latest.Put(built{s.series.Snapshot(now), refusals})
	s.count.Store(int64(s.series.SeriesCount()))
}

// run sends snapshots until the slot is closed and empty. One that was made before a refusal was
// known lacks points of 0, so the next replaces it, too. Only the last has no next.
func (s *MetricSender) run(ctx context.Context) {
	defer close(s.finished)
	var last []series.Message
	for {
		snapshot, ok := s.latest.Take()
		if !ok {
			s.send(ctx, last)
			return
		}
		last = nil
		if !s.undelivered.known(snapshot) {
			last = snapshot.messages
			for _, message := range last {
				s.undelivered.add(message)
			}
			continue
		}
		s.send(ctx, snapshot.messages)
	}
}

func (s *MetricSender) send(ctx context.Context, messages []series.Message) {
	for _, message := range messages {
		if ctx.Err() != nil {
			return
		}
		points := message.DataPointCount()
		op := s.report.StartMetricsOp(ctx)
		err := s.next.ConsumeMetrics(op, message.Metrics)
		s.report.EndMetricsOp(op, Transport, points, err)
		if err == nil {
			continue
		}
		s.warn.log("a metric snapshot was refused; the next one replaces it", zap.Error(err))
		// What is refused for good would be refused again.
		if !consumererror.IsPermanent(err) {
			s.undelivered.add(message)
		}
	}
}
