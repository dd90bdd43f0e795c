// SPDX-License-Identifier: Apache-2.0

// Package delivery hands records to a consumer. It never holds up who made them: what does not
// fit in the queue is counted.
package delivery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"
)

// capacity is how many items wait, together how many are sent.
const (
	capacity = 1024
	together = 100
)

// Bounds of the time between two attempts, and how long is tried.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
	retryFor   = time.Minute
)

// Reason is why a record was not delivered.
type Reason uint8

// The reasons.
const (
	QueueFull Reason = iota
	Refused
	Shutdown
	// Reasons is their number.
	Reasons
)

// String is the value of the attribute reason.
func (r Reason) String() string { return [Reasons]string{"queue_full", "refused", "shutdown"}[r] }

// Queue is a queue with a sender. Each item becomes a record.
type Queue[T any] struct {
	next   consumer.Logs
	write  func([]T) plog.Logs
	logger *zap.Logger

	// mu guards stopped, after which nothing waits that nobody takes.
	mu      sync.Mutex
	stopped bool
	waiting chan T
	// cancel ends the sender, abort what it sends.
	cancel, abort context.CancelFunc
	sending       context.Context
	done          sync.WaitGroup

	// Told are records that the consumer accepted, Lost the others.
	Told atomic.Uint64
	Lost [Reasons]atomic.Uint64
}

// NewQueue makes a queue that is not started.
func NewQueue[T any](next consumer.Logs, write func([]T) plog.Logs, logger *zap.Logger) *Queue[T] {
	return &Queue[T]{next: next, write: write, logger: logger, waiting: make(chan T, capacity)}
}

// Add adds an item if there is room. It does not wait. What comes after the end is counted.
func (q *Queue[T]) Add(f T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		q.Lost[Shutdown].Add(1)
		return
	}
	select {
	case q.waiting <- f:
	default:
		q.Lost[QueueFull].Add(1)
	}
}

// Start starts the sender.
func (q *Queue[T]) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	q.cancel = cancel
	q.sending, q.abort = context.WithCancel(context.Background())
	q.done.Go(func() { q.run(ctx) })
}

// Stop sends what waits, until the context ends, and counts what is left. What is being sent
// goes on until then.
func (q *Queue[T]) Stop(ctx context.Context) {
	defer context.AfterFunc(ctx, q.abort)()
	defer q.abort()
	q.cancel()
	q.done.Wait()
	q.mu.Lock()
	q.stopped = true
	q.mu.Unlock()
	for batch := q.take(); len(batch) > 0; batch = q.take() {
		q.send(ctx, batch)
	}
}

func (q *Queue[T]) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-q.waiting:
			q.send(ctx, q.take(f))
		}
	}
}

// take returns what waits, as far as it is sent together.
func (q *Queue[T]) take(batch ...T) []T {
	for len(batch) < together {
		select {
		case f := <-q.waiting:
			batch = append(batch, f)
		default:
			return batch
		}
	}
	return batch
}

// send tries until the consumer accepts, refuses for good, or time is over.
func (q *Queue[T]) send(ctx context.Context, batch []T) {
	wait := firstRetry
	for begin := time.Now(); ; wait = min(2*wait, lastRetry) {
		// The consumer may keep or change what it gets, so each attempt has its own.
		err := q.next.ConsumeLogs(q.sending, q.write(batch))
		if err == nil {
			q.Told.Add(uint64(len(batch)))
			return
		}
		if consumererror.IsPermanent(err) || time.Since(begin) > retryFor {
			q.Lost[Refused].Add(uint64(len(batch)))
			q.logger.Warn("records were refused", zap.Int("records", len(batch)), zap.Error(err))
			return
		}
		select {
		case <-ctx.Done():
			q.Lost[Shutdown].Add(uint64(len(batch)))
			q.logger.Warn("records were not delivered before the end", zap.Int("records", len(batch)), zap.Error(err))
			return
		case <-time.After(wait):
		}
	}
}
