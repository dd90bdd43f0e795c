// SPDX-License-Identifier: Apache-2.0

// Package pipeline decides who runs when. One goroutine drains the kernel side, and one for
// each signal hands telemetry to the next consumer. A bounded queue joins them.
package pipeline

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/observe"
)

// Transport is what the Collector's own metrics of receivers call this way in.
const Transport = "ebpf"

// abandonTime is how long a consumer has to return once its context is cancelled.
const abandonTime = 250 * time.Millisecond

// Options are the parts that a Pipeline runs, and when.
type Options struct {
	Kernel   Kernel
	Observer *observe.Observer
	Ledger   *ledger.Ledger
	// Logs and Metrics are nil without a pipeline of that signal.
	Logs    *LogSender
	Metrics *MetricSender
	Logger  *zap.Logger

	// Interval is the time between two snapshots.
	Interval time.Duration
	// MaxAge is the greatest age of a batch of log records.
	MaxAge time.Duration
	// FlushTime bounds the last drain, and then the time that consumers get.
	FlushTime time.Duration
}

// Pipeline runs from Start to Shutdown, once.
type Pipeline struct {
	drain     *drain
	logs      *LogSender
	metrics   *MetricSender
	ledger    *ledger.Ledger
	losses    *lossWatch
	logger    *zap.Logger
	flushTime time.Duration

	stop   chan struct{}
	ctx    context.Context //nolint:containedctx // handed to consumers until shutdown
	cancel context.CancelFunc
}

// New makes a Pipeline. Start the kernel side with the observer before the Pipeline.
func New(options Options) *Pipeline {
	p := &Pipeline{
		logs:      options.Logs,
		metrics:   options.Metrics,
		ledger:    options.Ledger,
		losses:    &lossWatch{logger: options.Logger, ledger: options.Ledger},
		logger:    options.Logger,
		flushTime: options.FlushTime,
		stop:      make(chan struct{}),
	}
	p.drain = &drain{
		kernel:    options.Kernel,
		observer:  options.Observer,
		ledger:    options.Ledger,
		interval:  options.Interval,
		maxAge:    options.MaxAge,
		flushTime: options.FlushTime,
		warn:      &limitedWarning{logger: options.Logger},
		losses:    p.losses,
		metrics:   options.Metrics,
		finished:  make(chan struct{}),
	}
	return p
}

// Last is the latest snapshot; nil before Start.
func (p *Pipeline) Last() *probe.Snapshot { return p.drain.last.Load() }

// Start begins to drain and to send.
func (p *Pipeline) Start(status Status) {
	p.drain.status = status
	p.drain.last.Store(&probe.Snapshot{Hooks: p.drain.kernel.Hooks()})
	p.ctx, p.cancel = context.WithCancel(context.Background())
	go p.drain.run(p.stop)
	if p.logs != nil {
		go p.logs.run(p.ctx)
	}
	if p.metrics != nil {
		go p.metrics.run(p.ctx)
	}
}

// Shutdown waits for the drain, then for the consumers until the flush time has passed or ctx
// is done. A consumer that does not return even then is left behind.
func (p *Pipeline) Shutdown(ctx context.Context) error {
	defer p.cancel()
	close(p.stop)
	if p.logs != nil {
		close(p.logs.stopping)
	}
	<-p.drain.finished
	ctx, cancel := context.WithTimeout(ctx, p.flushTime)
	defer cancel()
	finished := p.closeSenders()
	if !wait(ctx.Done(), finished) {
		p.cancel()
		grace := time.NewTimer(abandonTime)
		defer grace.Stop()
		if !wait(grace.C, finished) {
			p.logger.Warn("a consumer does not return after its context was cancelled; no longer waiting for it")
		}
	}
	if p.logs != nil {
		p.logs.abandon()
	}
	p.losses.last()
	logAccounting(p.logger, p.ledger)
	return p.drain.err
}

// closeSenders lets the senders finish what they have, and returns the channels that are
// closed then.
func (p *Pipeline) closeSenders() []<-chan struct{} {
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
