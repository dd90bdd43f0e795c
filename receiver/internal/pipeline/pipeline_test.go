// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/kerneltest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/observe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series"
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

// settings are what a test can change.
type settings struct {
	batchRecords, queueBytes int
	retry                    configretry.BackOffConfig
	flushTime                time.Duration
	events                   metadata.LogsBuilderConfig
	logger                   *zap.Logger
}

func withBatches(records int) func(*settings) { return func(s *settings) { s.batchRecords = records } }

func withFlushTime(d time.Duration) func(*settings) { return func(s *settings) { s.flushTime = d } }

func withAllEvents(s *settings) { s.events.Events.TCPServerConnectionOpen.Enabled = true }

// underTest is a pipeline with the other parts of a receiver and a kernel side for tests. Its
// intervals are short.
type underTest struct {
	*Pipeline
	kernel *kerneltest.Kernel
}

func newUnderTest(t *testing.T, logs consumer.Logs, metrics consumer.Metrics, change ...func(*settings)) underTest {
	t.Helper()
	s := settings{
		batchRecords: 1000, queueBytes: 16 << 20, flushTime: 5 * time.Second,
		retry: configretry.NewDefaultBackOffConfig(), events: metadata.DefaultLogsBuilderConfig(), logger: zap.NewNop(),
	}
	s.retry.InitialInterval, s.retry.MaxInterval = time.Millisecond, 10*time.Millisecond
	s.retry.MaxElapsedTime = 30 * time.Second
	for _, f := range change {
		f(&s)
	}
	set := receivertest.NewNopSettings(metadata.Type)
	report, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{ReceiverID: set.ID, ReceiverCreateSettings: set})
	require.NoError(t, err)
	k := kerneltest.New(t)
	k.Config.OpenRecords, k.Config.FailedRecords = s.events.Events.TCPServerConnectionOpen.Enabled, true
	l := &ledger.Ledger{}
	observed := observe.Options{
		Ledger: l, Attribution: observe.Attribution{Process: true}, Root: fstest.MapFS{},
		Connections: 1000, Listeners: 100, PortCounters: 100, MaxRecords: s.batchRecords,
	}
	options := Options{
		Kernel: k, Ledger: l, Logger: s.logger, Interval: 20 * time.Millisecond,
		MaxAge: time.Millisecond, FlushTime: s.flushTime,
	}
	if logs != nil {
		options.Logs = NewLogSender(LogOptions{
			Next: logs, Report: report, Ledger: l, Retry: s.retry, QueueBytes: s.queueBytes, Logger: s.logger,
		})
		observed.Logs = logrecord.New(s.events, logrecord.Options{})
		observed.Push, observed.MaxBytes = options.Logs.Push, options.Logs.MaxBatchBytes()
	}
	if metrics != nil {
		observed.Metrics = series.New(metadata.NewDefaultMetricsBuilderConfig(), series.Options{SeriesLimit: 100})
		options.Metrics = NewMetricSender(MetricOptions{
			Next: metrics, Report: report, Series: observed.Metrics, SeriesLimit: 100, Logger: s.logger,
		})
	}
	options.Observer = observe.New(observed)
	return underTest{New(options), k}
}

// nopStatus ignores the status.
type nopStatus struct{}

func (nopStatus) Failed(error) {}

func (nopStatus) Attached([]probe.HookState) {}

func (u underTest) start(t *testing.T) *kerneltest.Kernel {
	t.Helper()
	require.NoError(t, u.kernel.Start(u.drain.observer))
	u.Start(nopStatus{})
	return u.kernel
}

func (u underTest) assertBalanced(t *testing.T) {
	t.Helper()
	for e := range ledger.AccountedEvents() {
		balance := u.ledger.Balance(e)
		assert.Zero(t, balance.Difference(), "%s: %+v", e, balance)
		assert.Zero(t, balance.Queued, "%s", e)
	}
}

// waitFor returns once a condition holds.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, time.Millisecond, what)
}

func TestLedgerAllDelivered(t *testing.T) {
	sink := &consumertest.LogsSink{}
	r := newUnderTest(t, sink, &consumertest.MetricsSink{}, withAllEvents)
	k := r.start(t)
	still := k.Open()
	k.Requests(1500)
	k.Fail(7)
	k.Packets(5)
	require.NoError(t, r.Shutdown(t.Context()))

	assert.Equal(t, 1501+1500+7+5, sink.LogRecordCount())
	r.assertBalanced(t)
	assert.Equal(t, ledger.Balance{Produced: 1501, Delivered: 1500, Active: 1}, r.ledger.Balance(ledger.Connection))
	assert.Equal(t, ledger.Balance{Produced: 1501, Delivered: 1501}, r.ledger.Balance(ledger.Open))
	assert.NotZero(t, still.ID)
}

func TestLedgerWithoutLogs(t *testing.T) {
	r := newUnderTest(t, nil, &consumertest.MetricsSink{})
	k := r.start(t)
	k.Requests(20)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 20, r.ledger.Balance(ledger.Connection).Delivered)
	assert.Zero(t, r.ledger.Balance(ledger.Failed))
}

func TestLedgerDisabledEvents(t *testing.T) {
	sink := &consumertest.LogsSink{}
	r := newUnderTest(t, sink, nil, func(s *settings) { s.events.Events.TCPServerConnectionClose.Enabled = false })
	k := r.start(t)
	k.Requests(20)
	k.Fail(3)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.Equal(t, 3, sink.LogRecordCount())
	assert.EqualValues(t, 20, r.ledger.Balance(ledger.Connection).Delivered)
}

func TestLedgerPermanentRefusal(t *testing.T) {
	var calls atomic.Int64
	next := logsFunc{consume: func(context.Context, plog.Logs) error {
		calls.Add(1)
		return consumererror.NewPermanent(errors.New("no"))
	}}
	r := newUnderTest(t, next, nil, withBatches(10))
	r.start(t).Requests(30)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 30, r.ledger.Lost(ledger.Connection, ledger.Refused))
	assert.GreaterOrEqual(t, calls.Load(), int64(3))
}

func TestLedgerRefusalWithoutRetry(t *testing.T) {
	r := newUnderTest(t, consumertest.NewErr(errors.New("busy")), nil, func(s *settings) { s.retry.Enabled = false })
	r.start(t).Requests(30)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 30, r.ledger.Lost(ledger.Connection, ledger.Refused))
}

func TestLedgerRetryExhausted(t *testing.T) {
	r := newUnderTest(t, consumertest.NewErr(errors.New("busy")), nil,
		func(s *settings) { s.retry.MaxElapsedTime = 15 * time.Millisecond })
	k := r.start(t)
	k.Requests(30)
	waitFor(t, "the first batch is given up", func() bool {
		return r.ledger.Lost(ledger.Connection, ledger.RetryExhausted) > 0
	})
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 30, r.ledger.Balance(ledger.Connection).Lost)
}

func TestLedgerRetrySucceeds(t *testing.T) {
	var calls atomic.Int64
	sink := &consumertest.LogsSink{}
	next := logsFunc{consume: func(ctx context.Context, logs plog.Logs) error {
		if calls.Add(1) <= 3 {
			return errors.New("busy")
		}
		return sink.ConsumeLogs(ctx, logs)
	}}
	r := newUnderTest(t, next, nil)
	r.start(t).Requests(30)
	waitFor(t, "logs", func() bool { return sink.LogRecordCount() == 30 })
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 30, r.ledger.Balance(ledger.Connection).Delivered)
}

func TestLedgerPartialRetry(t *testing.T) {
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
	r := newUnderTest(t, next, nil)
	r.start(t).Requests(30)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.Equal(t, 29, sink.LogRecordCount(), "one went the first time")
	assert.EqualValues(t, 30, r.ledger.Balance(ledger.Connection).Delivered)
}

// TestLedgerPermanentPartialRefusal: accepted records are delivered, the rest is refused.
func TestLedgerPermanentPartialRefusal(t *testing.T) {
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
	r := newUnderTest(t, next, nil)
	r.start(t).Requests(30)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 30, records.Load(), "nothing is tried again")
	assert.Equal(t, refusals.Load(), r.ledger.Lost(ledger.Connection, ledger.Refused))
	assert.Equal(t, 30-refusals.Load(), r.ledger.Balance(ledger.Connection).Delivered)
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
	r := newUnderTest(t, next, nil)
	r.start(t).Requests(1)
	require.NoError(t, r.Shutdown(t.Context()))
	close(marked)
	for n := range marked {
		assert.EqualValues(t, 1, n)
	}
	r.assertBalanced(t)
}

// blocker is a consumer that does not return until it is released.
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

func TestLedgerTinyQueueAndBlockingConsumer(t *testing.T) {
	const queueBytes = 4 << 10 // the least that the configuration allows
	b := newBlocker(true)
	r := newUnderTest(t, logsFunc{consume: func(ctx context.Context, _ plog.Logs) error { return b.block(ctx) }}, nil,
		withFlushTime(50*time.Millisecond), func(s *settings) { s.queueBytes = queueBytes })
	k := r.start(t)
	k.Requests(1)
	<-b.entered
	k.Requests(200)
	waitFor(t, "the queue overflows", func() bool { return r.ledger.Lost(ledger.Connection, ledger.QueueFull) > 0 })
	assert.LessOrEqual(t, r.logs.QueueBytes(), queueBytes)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.Positive(t, r.ledger.Lost(ledger.Connection, ledger.Shutdown))
	assert.Zero(t, r.ledger.Balance(ledger.Connection).Delivered)
	assert.True(t, k.IsClosed())
}

func TestLedgerRefusingThroughShutdown(t *testing.T) {
	r := newUnderTest(t, consumertest.NewErr(errors.New("busy")), nil, withFlushTime(50*time.Millisecond))
	r.start(t).Requests(50)
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 50, r.ledger.Lost(ledger.Connection, ledger.Shutdown))
}

// TestShutdownFlushesHoweverLongDetachingTakes: detaching from hundreds of interfaces takes
// longer than the flush time of the consumers.
func TestShutdownFlushesHoweverLongDetachingTakes(t *testing.T) {
	const flushTime, consumes = 250 * time.Millisecond, 10 * time.Millisecond
	r := newUnderTest(t, logsFunc{consume: func(ctx context.Context, _ plog.Logs) error {
		select {
		case <-time.After(consumes):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}, nil, withFlushTime(flushTime))
	k := r.start(t)
	k.Detaching = func() {
		time.Sleep(flushTime + flushTime/2)
		k.Requests(20)
	}
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
	assert.EqualValues(t, 20, r.ledger.Balance(ledger.Connection).Delivered)
}

func TestShutdownLeavesADeafConsumerBehind(t *testing.T) {
	logs, metrics := newBlocker(false), newBlocker(false)
	r := newUnderTest(t,
		logsFunc{consume: func(ctx context.Context, _ plog.Logs) error { return logs.block(ctx) }},
		metricsFunc(func(ctx context.Context, _ pmetric.Metrics) error { return metrics.block(ctx) }), withFlushTime(50*time.Millisecond))
	k := r.start(t)
	k.Requests(30)
	<-logs.entered
	<-metrics.entered
	require.NoError(t, r.Shutdown(t.Context()))
	assert.True(t, k.IsClosed())
	r.assertBalanced(t)
	assert.EqualValues(t, 30, r.ledger.Lost(ledger.Connection, ledger.Shutdown))

	// It returns now, too late to count as delivered.
	close(logs.released)
	close(metrics.released)
	<-r.logs.finished
	<-r.metrics.finished
	r.assertBalanced(t)
	assert.Zero(t, r.ledger.Balance(ledger.Connection).Delivered)
}

func TestBlockedMetricsConsumerBlocksNothingElse(t *testing.T) {
	b := newBlocker(true)
	sink := &consumertest.LogsSink{}
	r := newUnderTest(t, sink,
		metricsFunc(func(ctx context.Context, _ pmetric.Metrics) error { return b.block(ctx) }), withFlushTime(50*time.Millisecond))
	k := r.start(t)
	k.Requests(1)
	<-b.entered
	k.Lock()
	snapshots := k.Snapshots
	k.Unlock()
	k.Requests(100)
	waitFor(t, "logs", func() bool { return sink.LogRecordCount() == 101 })
	waitFor(t, "more snapshots", func() bool {
		k.Lock()
		defer k.Unlock()
		return k.Snapshots > snapshots+2
	})
	require.NoError(t, r.Shutdown(t.Context()))
	r.assertBalanced(t)
}

func TestShutdownKeepsItsContextsDeadline(t *testing.T) {
	b := newBlocker(true)
	r := newUnderTest(t, logsFunc{consume: func(ctx context.Context, _ plog.Logs) error { return b.block(ctx) }}, nil)
	r.start(t).Requests(1)
	<-b.entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	require.NoError(t, r.Shutdown(ctx))
	assert.Less(t, time.Since(began), 5*time.Second)
	r.assertBalanced(t)
}
