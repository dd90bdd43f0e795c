// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/account"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord"
)

// minRetryDelay keeps a retry configured without delay from spinning.
const minRetryDelay = 10 * time.Millisecond

// counts are events by kind.
type counts = [ledger.Events]int

// LogSender hands batches to the next consumer, one at a time, and retries those that it
// refuses. Batches wait in a queue bounded in bytes.
type LogSender struct {
	next   consumer.Logs
	retry  configretry.BackOffConfig
	report *receiverhelper.ObsReport
	ledger *ledger.Ledger
	queue  *queue[logrecord.Batch]
	warn   *limitedWarning
	// stopping is closed when the receiver shuts down. Retries then stop waiting.
	stopping chan struct{}
	// finished is closed when run returns.
	finished chan struct{}

	mu sync.Mutex
	// current are the events of the batch being sent that are not settled yet.
	current   counts
	abandoned bool
}

// LogOptions configure a LogSender.
type LogOptions struct {
	Next   consumer.Logs
	Report *receiverhelper.ObsReport
	Ledger *ledger.Ledger
	Retry  configretry.BackOffConfig
	// QueueBytes bounds the batches that wait, the one being sent included.
	QueueBytes int
	Logger     *zap.Logger
}

// NewLogSender makes a LogSender that has nothing to send.
func NewLogSender(options LogOptions) *LogSender {
	return &LogSender{
		next:     options.Next,
		retry:    options.Retry,
		report:   options.Report,
		ledger:   options.Ledger,
		queue:    newQueue[logrecord.Batch](options.QueueBytes),
		warn:     &limitedWarning{logger: options.Logger},
		stopping: make(chan struct{}),
		finished: make(chan struct{}),
	}
}

// batchesInQueue is how many full batches the queue holds at least. A batch as big as the
// queue would be lost whenever another one is being sent.
const batchesInQueue = 4

// MaxBatchBytes is the size at which a batch has to be closed.
func (s *LogSender) MaxBatchBytes() int { return s.queue.Capacity() / batchesInQueue }

// QueueBytes is the size of the batches that wait.
func (s *LogSender) QueueBytes() int { return s.queue.Bytes() }

// QueueCapacity is the size of all batches that may wait.
func (s *LogSender) QueueCapacity() int { return s.queue.Capacity() }

// Push queues a batch, or counts it as lost.
func (s *LogSender) Push(batch logrecord.Batch) {
	if !s.queue.Push(batch, batch.Bytes) {
		s.lose(batch.Counts, ledger.QueueFull)
	}
}

// run sends batches until the queue is closed and empty.
func (s *LogSender) run(ctx context.Context) {
	defer close(s.finished)
	for s.SendNext(ctx) {
	}
}

// SendNext waits for a batch and sends it. It returns false when the queue is closed and
// empty.
func (s *LogSender) SendNext(ctx context.Context) bool {
	batch, done, ok := s.queue.Pop()
	if !ok {
		return false
	}
	defer done()
	s.send(ctx, &batch)
	return true
}

func (s *LogSender) send(ctx context.Context, batch *logrecord.Batch) {
	if !s.begin(batch.Counts) {
		return
	}
	if ctx.Err() != nil {
		s.settle(ledger.Shutdown)
		return
	}
	records := batch.Logs.LogRecordCount()
	ctx = s.report.StartLogsOp(ctx)
	cause, err := s.deliver(ctx, batch.Logs)
	s.report.EndLogsOp(ctx, Transport, records, err)
	if err == nil {
		s.delivered(counts{})
		return
	}
	s.settle(cause)
	s.warn.log("log records were dropped", zap.String("reason", cause.Reason()), zap.Error(err))
}

// deliver tries until the consumer accepts, or returns why it gave up.
func (s *LogSender) deliver(ctx context.Context, logs plog.Logs) (ledger.Cause, error) {
	delays := s.newBackOff()
	var deadline time.Time
	if s.retry.MaxElapsedTime > 0 {
		deadline = time.Now().Add(s.retry.MaxElapsedTime)
	}
	stopping := (<-chan struct{})(s.stopping)
	for {
		kept, err := s.keep(logs)
		if err != nil {
			return ledger.Refused, err
		}
		if err = s.next.ConsumeLogs(ctx, logs); err == nil {
			return 0, nil
		}
		var partial consumererror.Logs
		if errors.As(err, &partial) {
			logs = partial.Data()
			s.delivered(countEvents(logs))
			kept = nil
		}
		switch {
		case consumererror.IsPermanent(err), !s.retry.Enabled:
			return ledger.Refused, err
		case ctx.Err() != nil:
			return ledger.Shutdown, err
		}
		delay := max(delays.NextBackOff(), minRetryDelay)
		if !deadline.IsZero() && time.Now().Add(delay).After(deadline) {
			return ledger.RetryExhausted, err
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-stopping:
			// Try now, then again at short intervals.
			stopping = nil
			delays.Reset()
		case <-ctx.Done():
			timer.Stop()
			return ledger.Shutdown, err
		}
		timer.Stop()
		if logs, err = kept.restore(logs); err != nil {
			return ledger.Refused, err
		}
	}
}

// keptLogs are the OTLP bytes of records that a consumer may change, or nil.
type keptLogs []byte

// keep prepares for a retry: a consumer that changes records must not change those that it
// may get again. It keeps bytes, which are one allocation; a copy of the structures would be
// one for each value, and most copies are never read.
func (s *LogSender) keep(logs plog.Logs) (keptLogs, error) {
	if !s.retry.Enabled || !s.next.Capabilities().MutatesData {
		return nil, nil
	}
	kept, err := (&plog.ProtoMarshaler{}).MarshalLogs(logs)
	if err != nil {
		return nil, fmt.Errorf("keep records for a retry: %w", err)
	}
	return kept, nil
}

// restore returns the records as they were.
func (k keptLogs) restore(logs plog.Logs) (plog.Logs, error) {
	if k == nil {
		return logs, nil
	}
	logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(k)
	if err != nil {
		return logs, fmt.Errorf("restore records for a retry: %w", err)
	}
	return logs, nil
}

func (s *LogSender) newBackOff() *backoff.ExponentialBackOff {
	b := &backoff.ExponentialBackOff{
		InitialInterval:     s.retry.InitialInterval,
		RandomizationFactor: s.retry.RandomizationFactor,
		Multiplier:          s.retry.Multiplier,
		MaxInterval:         s.retry.MaxInterval,
	}
	b.Reset()
	return b
}

// begin takes over a batch. It returns false if the batch was counted as lost already.
func (s *LogSender) begin(c counts) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned {
		s.lose(c, ledger.Shutdown)
		return false
	}
	s.current = c
	return true
}

// delivered counts what the consumer has accepted: all but the rest.
func (s *LogSender) delivered(rest counts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e, n := range s.current {
		accepted := n - min(n, rest[e])
		s.ledger.Deliver(ledger.Event(e), accepted)
		s.ledger.Queue(ledger.Event(e), -accepted)
		s.current[e] -= accepted
	}
}

// settle counts what is left of the current batch as lost.
func (s *LogSender) settle(cause ledger.Cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose(s.current, cause)
	s.current = counts{}
}

// abandon counts everything that was not delivered as lost. A consumer that returns later
// changes nothing.
func (s *LogSender) abandon() {
	left := s.queue.Abandon()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = true
	for i := range left {
		s.lose(left[i].Counts, ledger.Shutdown)
	}
	s.lose(s.current, ledger.Shutdown)
	s.current = counts{}
}

func (s *LogSender) lose(c counts, cause ledger.Cause) {
	for e, n := range c {
		if n != 0 {
			s.ledger.Lose(ledger.Event(e), cause, n)
			s.ledger.Queue(ledger.Event(e), -n)
		}
	}
}

// countEvents counts records by their event.
func countEvents(logs plog.Logs) counts {
	var c counts
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				if e, ok := account.ByName(record.EventName()); ok {
					c[e]++
				}
			}
		}
	}
	return c
}
