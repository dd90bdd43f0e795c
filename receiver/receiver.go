// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	rcvr "go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/cleanlog"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/pipeline"
)

// defaultFlushTime is how long a shutdown waits for consumers after all programs are detached.
// Detaching takes seconds for hundreds of interfaces.
const defaultFlushTime = 5 * time.Second

// environment is what the receiver gets from outside. Tests replace it.
type environment struct {
	newKernel func(probe.Config, *zap.Logger) (pipeline.Kernel, error)
	// root is the file system that owners are looked up in.
	root      fs.FS
	flushTime time.Duration
}

func hostEnvironment() environment {
	return environment{
		newKernel: func(cfg probe.Config, logger *zap.Logger) (pipeline.Kernel, error) {
			p, err := probe.New(cfg, logger)
			if err != nil {
				return nil, err
			}
			return p, nil
		},
		root:      os.DirFS("/"),
		flushTime: defaultFlushTime,
	}
}

// tcpReceiver is one kernel side and the pipelines that it feeds: logs, metrics or both.
type tcpReceiver struct {
	// cfg has no limit that still depends on the machine.
	cfg *Config
	set rcvr.Settings
	env environment

	// The factory sets these before Start. At least one is not nil.
	logs    consumer.Logs
	metrics consumer.Metrics

	// ledger is that of the last Start.
	ledger *ledger.Ledger
	// running is nil before Start and after Shutdown.
	running *parts
}

func newReceiver(cfg *Config, set rcvr.Settings, env environment) *tcpReceiver {
	sized := *cfg
	sized.Limits = cfg.Limits.sized(env.root)
	set.Logger = cleanlog.Logger(set.Logger)
	return &tcpReceiver{cfg: &sized, set: set, env: env}
}

// Start loads and attaches the kernel side. If something that was asked for is missing, Start
// fails if the operator can mend it, or if on_missing is fail. Otherwise the status becomes a
// permanent error. Whatever else is missing costs one log line for each cause. The context is
// not kept. After Shutdown, Start may be called again.
func (r *tcpReceiver) Start(_ context.Context, host component.Host) error {
	var f check.Faults
	cfg := r.cfg.probeConfig(&f)
	if len(f) > 0 {
		return errors.Join(f...)
	}
	r.warnUnused()
	if r.logs == nil {
		withoutLogs(&cfg)
	}
	if r.metrics == nil {
		withoutMetrics(&cfg)
	}
	// The kernel side counts from 0 at each start.
	r.ledger = &ledger.Ledger{}
	k, err := r.env.newKernel(cfg, r.set.Logger)
	if err != nil {
		err = fmt.Errorf("prepare the kernel side: %w", err)
		if r.cfg.OnMissing == onMissingFail || !probe.Unsupported(err) {
			return err
		}
		r.reportLacking(&status{host: host, lacking: err}, nil)
		return nil
	}
	p, err := r.assemble(k)
	if err != nil {
		return errors.Join(err, k.Close())
	}
	if err := k.Start(p.observer); err != nil {
		p.telemetry.Shutdown()
		return errors.Join(cleanlog.Error(fmt.Errorf("start the kernel side: %w", err)), k.Close())
	}
	hooks := k.Hooks()
	lacking := r.cfg.lacking(r.logs != nil, r.metrics != nil, hooks)
	if lacking != nil && (r.cfg.OnMissing == onMissingFail || capability.Mendable(lacking)) {
		p.telemetry.Shutdown()
		return errors.Join(lacking, k.Close())
	}
	r.cfg.Limits.log(r.set.Logger, k)
	logHooks(r.set.Logger, hooks)
	status := &status{host: host, lacking: lacking}
	r.reportLacking(status, hooks)
	r.running = p
	p.pipeline.Start(status)
	return nil
}

// reportLacking reports the status, and logs it if it is an error.
func (r *tcpReceiver) reportLacking(s *status, hooks []probe.HookState) {
	s.Attached(hooks)
	if s.lacking != nil {
		r.set.Logger.Warn("this kernel can't provide what the configuration asks for", zap.Error(s.lacking))
	}
}

// warnUnused warns if packets are selected and no log record of them is wanted.
func (r *tcpReceiver) warnUnused() {
	const message = "packet selection has no effect"
	switch {
	case r.cfg.Packets.SampleRate == 0 && len(r.cfg.Packets.Flags) == 0:
	case r.logs == nil:
		r.set.Logger.Warn(message, zap.String("reason", "the receiver is in no logs pipeline"))
	case !r.cfg.Events.TCPServerPacket.Enabled:
		r.set.Logger.Warn(message, zap.String("reason", "events::tcp.server.packet::enabled is false"))
	}
}

// Shutdown detaches everything, hands over what is left within the flush time, counts the rest
// as lost and waits for the goroutines.
func (r *tcpReceiver) Shutdown(ctx context.Context) error {
	if r.running == nil {
		return nil
	}
	p := r.running
	r.running = nil
	defer p.telemetry.Shutdown()
	return p.pipeline.Shutdown(ctx)
}
