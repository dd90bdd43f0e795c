// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
)

// logsFunc is a logs consumer.
type logsFunc struct {
	consume func(context.Context, plog.Logs) error
	mutates bool
}

func (f logsFunc) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: f.mutates}
}

func (f logsFunc) ConsumeLogs(ctx context.Context, logs plog.Logs) error { return f.consume(ctx, logs) }

// metricsFunc is a metrics consumer.
type metricsFunc func(context.Context, pmetric.Metrics) error

func (metricsFunc) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (f metricsFunc) ConsumeMetrics(ctx context.Context, m pmetric.Metrics) error { return f(ctx, m) }

// receiverUnderTest is a receiver without its factory, so that its books can be read.
type receiverUnderTest struct {
	*tcpReceiver
	env *fakeEnvironment
}

func newReceiverUnderTest(t *testing.T, cfg *Config, logs consumer.Logs, metrics consumer.Metrics) receiverUnderTest {
	env := &fakeEnvironment{t: t}
	r := newReceiver(cfg, nopSettings(), env.environment())
	r.logs, r.metrics = logs, metrics
	return receiverUnderTest{r, env}
}

func (r receiverUnderTest) start(t *testing.T) *fakeKernel {
	t.Helper()
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	return r.env.last()
}

func (r receiverUnderTest) assertBalanced(t *testing.T) {
	t.Helper()
	for e := range ledger.Listener {
		balance := r.books.Balance(e)
		assert.Zero(t, balance.Difference(), "%s: %+v", e, balance)
		assert.Zero(t, balance.Queued, "%s", e)
	}
}

func allEvents(cfg *Config) *Config {
	cfg.Events.TCPServerConnectionOpen.Enabled = true
	return cfg
}

func TestBooksAllDelivered(t *testing.T) {
	sink := &consumertest.LogsSink{}
	r := newReceiverUnderTest(t, allEvents(testConfig()), sink, &consumertest.MetricsSink{})
	k := r.start(t)
	still := k.open()
	k.requests(1500)
	k.fail(7)
	k.packets(5)
	require.NoError(t, r.Shutdown(t.Context()))

	assert.Equal(t, 1501+1500+7+5, sink.LogRecordCount())
	r.assertBalanced(t)
	assert.Equal(t, ledger.Balance{Produced: 1501, Delivered: 1500, Active: 1}, r.books.Balance(ledger.Connection))
	assert.Equal(t, ledger.Balance{Produced: 1501, Delivered: 1501}, r.books.Balance(ledger.Open))
	assert.NotZero(t, still.ID)
}

func TestBooksWithoutLogs(t *testing.T) {
	r := newReceiverUnderTest(t, allEvents(testConfig()), nil, &consumertest.MetricsSink{})
	k := r.start(t)
	assert.False(t, k.cfg.OpenRecords || k.cfg.FailedRecords, "records for logs only are not asked for")
	k.requests(20)
	k.fail(3)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 20, r.books.Balance(ledger.Connection).Delivered)
	assert.Zero(t, r.books.Balance(ledger.Failed))
}

func TestBooksDisabledEvents(t *testing.T) {
	cfg := testConfig()
	cfg.Events.TCPServerConnectionClose.Enabled = false
	sink := &consumertest.LogsSink{}
	r := newReceiverUnderTest(t, cfg, sink, nil)
	k := r.start(t)
	k.requests(20)
	k.fail(3)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.Equal(t, 3, sink.LogRecordCount())
	assert.EqualValues(t, 20, r.books.Balance(ledger.Connection).Delivered)
}

func TestBooksPermanentRefusal(t *testing.T) {
	var calls atomic.Int64
	next := logsFunc{consume: func(context.Context, plog.Logs) error {
		calls.Add(1)
		return consumererror.NewPermanent(errors.New("no"))
	}}
	cfg := testConfig()
	cfg.Batch.MaxRecords = 10
	r := newReceiverUnderTest(t, cfg, next, nil)
	r.start(t).requests(30)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 30, r.books.Lost(ledger.Connection, ledger.Refused))
	assert.GreaterOrEqual(t, calls.Load(), int64(3))
}

func TestBooksRefusalWithoutRetry(t *testing.T) {
	cfg := testConfig()
	cfg.Retry.Enabled = false
	r := newReceiverUnderTest(t, cfg, consumertest.NewErr(errors.New("busy")), nil)
	r.start(t).requests(30)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 30, r.books.Lost(ledger.Connection, ledger.Refused))
}

func TestBooksRetryExhausted(t *testing.T) {
	cfg := testConfig()
	cfg.Retry.MaxElapsedTime = 15 * time.Millisecond
	r := newReceiverUnderTest(t, cfg, consumertest.NewErr(errors.New("busy")), nil)
	k := r.start(t)
	k.requests(30)
	waitFor(t, "the first batch is given up", func() bool {
		return r.books.Lost(ledger.Connection, ledger.RetryExhausted) > 0
	})
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 30, r.books.Balance(ledger.Connection).Lost)
}

func TestBooksRetrySucceeds(t *testing.T) {
	var calls atomic.Int64
	sink := &consumertest.LogsSink{}
	next := logsFunc{consume: func(ctx context.Context, logs plog.Logs) error {
		if calls.Add(1) <= 3 {
			return errors.New("busy")
		}
		return sink.ConsumeLogs(ctx, logs)
	}}
	r := newReceiverUnderTest(t, testConfig(), next, nil)
	r.start(t).requests(30)
	waitFor(t, "logs", func() bool { return sink.LogRecordCount() == 30 })
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 30, r.books.Balance(ledger.Connection).Delivered)
}

func TestBooksPartialRetry(t *testing.T) {
	var first sync.Once
	sink := &consumertest.LogsSink{}
	next := logsFunc{consume: func(ctx context.Context, logs plog.Logs) error {
		var refused error
		first.Do(func() {
			rest := plog.NewLogs()
			logs.CopyTo(rest)
			taken := 0
			rest.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().RemoveIf(func(plog.LogRecord) bool {
				taken++
				return taken == 1
			})
			refused = consumererror.NewLogs(errors.New("took one"), rest)
		})
		if refused != nil {
			return refused
		}
		return sink.ConsumeLogs(ctx, logs)
	}}
	r := newReceiverUnderTest(t, testConfig(), next, nil)
	r.start(t).requests(30)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.Equal(t, 29, sink.LogRecordCount(), "one went the first time")
	assert.EqualValues(t, 30, r.books.Balance(ledger.Connection).Delivered)
}

// TestBooksPermanentPartialRefusal: what was accepted is delivered, the rest refused.
func TestBooksPermanentPartialRefusal(t *testing.T) {
	var records, refusals atomic.Int64
	next := logsFunc{consume: func(_ context.Context, logs plog.Logs) error {
		records.Add(int64(logs.LogRecordCount()))
		refusals.Add(1)
		rest := plog.NewLogs()
		logs.CopyTo(rest)
		first := true
		rest.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().RemoveIf(func(plog.LogRecord) bool {
			others := !first
			first = false
			return others
		})
		return consumererror.NewPermanent(consumererror.NewLogs(errors.New("all but one"), rest))
	}}
	r := newReceiverUnderTest(t, testConfig(), next, nil)
	r.start(t).requests(30)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 30, records.Load(), "nothing is tried again")
	assert.Equal(t, refusals.Load(), r.books.Lost(ledger.Connection, ledger.Refused))
	assert.Equal(t, 30-refusals.Load(), r.books.Balance(ledger.Connection).Delivered)
}

func TestMutatingConsumerGetsItUnchangedAgain(t *testing.T) {
	const mark = "mark"
	var calls atomic.Int64
	marked := make(chan int64, 100)
	next := logsFunc{mutates: true, consume: func(_ context.Context, logs plog.Logs) error {
		attributes := logs.ResourceLogs().At(0).Resource().Attributes()
		before, _ := attributes.GetOrPutEmpty(mark)
		before.SetInt(before.Int() + 1)
		marked <- before.Int()
		if calls.Add(1) < 3 {
			return errors.New("busy")
		}
		return nil
	}}
	r := newReceiverUnderTest(t, testConfig(), next, nil)
	r.start(t).requests(1)
	require.NoError(t, r.Shutdown(t.Context()))
	close(marked)
	for n := range marked {
		assert.EqualValues(t, 1, n)
	}
	r.assertBalanced(t)
}

// blocker is a consumer that holds what it gets until released.
type blocker struct {
	entered, released chan struct{}
	honoursContext    bool
	once              sync.Once
}

func newBlocker(honoursContext bool) *blocker {
	return &blocker{entered: make(chan struct{}), released: make(chan struct{}), honoursContext: honoursContext}
}

func (b *blocker) block(ctx context.Context) error {
	b.once.Do(func() { close(b.entered) })
	var done <-chan struct{}
	if b.honoursContext {
		done = ctx.Done()
	}
	select {
	case <-b.released:
		return nil
	case <-done:
		return ctx.Err()
	}
}

func TestBooksTinyQueueAndBlockingConsumer(t *testing.T) {
	cfg := testConfig()
	cfg.Queue.MaxBytes = minQueueBytes
	b := newBlocker(true)
	r := newReceiverUnderTest(t, cfg, logsFunc{consume: func(ctx context.Context, _ plog.Logs) error { return b.block(ctx) }}, nil)
	r.tcpReceiver.env.flushTime = 50 * time.Millisecond
	k := r.start(t)
	k.requests(1)
	<-b.entered
	k.requests(200)
	waitFor(t, "the queue overflows", func() bool { return r.books.Lost(ledger.Connection, ledger.QueueFull) > 0 })
	assert.LessOrEqual(t, r.pipeline.logs.queue.Bytes(), cfg.Queue.MaxBytes)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.Positive(t, r.books.Lost(ledger.Connection, ledger.Shutdown))
	assert.Zero(t, r.books.Balance(ledger.Connection).Delivered)
	assert.True(t, k.isClosed())
}

func TestBooksRefusingThroughShutdown(t *testing.T) {
	r := newReceiverUnderTest(t, testConfig(), consumertest.NewErr(errors.New("busy")), nil)
	r.tcpReceiver.env.flushTime = 50 * time.Millisecond
	r.start(t).requests(50)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 50, r.books.Lost(ledger.Connection, ledger.Shutdown))
}

// Hundreds of interfaces take longer to leave than the consumers are waited for.
func TestShutdownFlushesHoweverLongDetachingTakes(t *testing.T) {
	const flushTime, consumes = 250 * time.Millisecond, 10 * time.Millisecond
	r := newReceiverUnderTest(t, testConfig(), logsFunc{consume: func(ctx context.Context, _ plog.Logs) error {
		select {
		case <-time.After(consumes):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}, nil)
	r.tcpReceiver.env.flushTime = flushTime
	k := r.start(t)
	k.detaching = func() {
		time.Sleep(flushTime + flushTime/2)
		k.requests(20)
	}
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 20, r.books.Balance(ledger.Connection).Delivered)
}

func TestShutdownLeavesADeafConsumerBehind(t *testing.T) {
	logs, metrics := newBlocker(false), newBlocker(false)
	r := newReceiverUnderTest(t, testConfig(),
		logsFunc{consume: func(ctx context.Context, _ plog.Logs) error { return logs.block(ctx) }},
		metricsFunc(func(ctx context.Context, _ pmetric.Metrics) error { return metrics.block(ctx) }))
	r.tcpReceiver.env.flushTime = 50 * time.Millisecond
	k := r.start(t)
	k.requests(30)
	<-logs.entered
	<-metrics.entered
	sender, metricSender := r.pipeline.logs, r.pipeline.metrics
	require.NoError(t, r.Shutdown(t.Context()))
	assert.True(t, k.isClosed())
	r.assertBalanced(t)
	assert.EqualValues(t, 30, r.books.Lost(ledger.Connection, ledger.Shutdown))

	// It comes back at last: too late to count as delivered too.
	close(logs.released)
	close(metrics.released)
	<-sender.finished
	<-metricSender.finished
	r.assertBalanced(t)
	assert.Zero(t, r.books.Balance(ledger.Connection).Delivered)
}

func TestBlockedMetricsConsumerBlocksNothingElse(t *testing.T) {
	b := newBlocker(true)
	sink := &consumertest.LogsSink{}
	r := newReceiverUnderTest(t, testConfig(), sink,
		metricsFunc(func(ctx context.Context, _ pmetric.Metrics) error { return b.block(ctx) }))
	r.tcpReceiver.env.flushTime = 50 * time.Millisecond
	k := r.start(t)
	k.requests(1)
	<-b.entered
	k.mu.Lock()
	snapshots := k.snapshots
	k.mu.Unlock()
	k.requests(100)
	waitFor(t, "logs", func() bool { return sink.LogRecordCount() == 101 })
	waitFor(t, "more snapshots", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.snapshots > snapshots+2
	})
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
}

func TestShutdownKeepsItsContextsDeadline(t *testing.T) {
	b := newBlocker(true)
	r := newReceiverUnderTest(t, testConfig(), logsFunc{consume: func(ctx context.Context, _ plog.Logs) error { return b.block(ctx) }}, nil)
	r.start(t).requests(1)
	<-b.entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	require.NoError(t, r.Shutdown(ctx))
	assert.Less(t, time.Since(began), defaultFlushTime)
	r.assertBalanced(t)
}
