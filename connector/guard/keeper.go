// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow/keep"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocklog"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/figures"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/follow"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/record"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/settings"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/shares"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/suspects"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/tally"
	"github.com/ebpftcp/ebpftcpreceiver/internal/control"
	"github.com/ebpftcp/ebpftcpreceiver/internal/delivery"
)

// stopFor is how long a stop waits for the consumer.
const stopFor = 5 * time.Second

// keeper is what the two ends share: the table of blocks, the kernel's side of it, and where
// decisions go.
type keeper struct {
	cfg     *Config
	set     connector.Settings
	host    machine
	logs    consumer.Logs
	metrics consumer.Metrics

	queue     *delivery.Queue[*blocklog.Event]
	telemetry *metadata.TelemetryBuilder
	cancel    context.CancelFunc
	done      sync.WaitGroup
	client    storage.Client
	// cut asks for the end of open connections.
	cut chan struct{}
	// ended counts connections, failed requests to the kernel.
	ended, failed atomic.Uint64

	// allowed may be changed at any time.
	allowed *keep.List

	// mu guards the rest.
	mu sync.Mutex
	// kernel is nil if the kernel refuses the guard, and before Start. Then the table is kept,
	// and nothing is dropped.
	kernel kernel
	// mode is that of the configuration, or dry_run if the kernel refuses more.
	mode string
	// applied is the part of allowed that the kernel has, and looked when the host was asked
	// about sessions.
	applied *allow.List
	looked  time.Duration
	// asking are the keys whose blocks contain an allowed address.
	asking map[netip.Prefix]bool
	table  *blocks.Table
	tally  *tally.Tally
	// suspects are the sources among which a score decides.
	suspects *suspects.Set
	// changed tells that the table is not stored as it is, quiet that decisions become no records.
	changed, quiet bool
	// judge knows which sources stand for many; nil if that is off. Until it is ready, rules only
	// count.
	judge       *shares.Judge
	reader      *shares.Reader
	shareRecord shares.Record
	ready       bool
	warned      bool
	began       time.Duration
	connections time.Duration
	figures     figures.Figures
	// holding tells whether the deadline is renewed.
	holding bool
	// refusals is when the minute began in which told refusals are counted.
	refusals time.Duration
	told     int
	since    time.Time
}

func newKeeper(cfg *Config, set connector.Settings, host machine) *keeper {
	return &keeper{
		cfg: cfg, set: set, host: host, cut: make(chan struct{}, 1),
	}
}

// Start attaches the guard and begins to decide. Mode off does nothing.
func (k *keeper) Start(ctx context.Context, host component.Host) error {
	if k.cfg.Mode == modeOff {
		return nil
	}
	allowed, err := keep.New(settings.Prefixes(k.cfg.Allow), k.set.Logger)
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.mode, k.allowed, k.applied, k.since = k.cfg.Mode, allowed, nil, k.host.wall()
	k.asking = make(map[netip.Prefix]bool)
	k.table, k.tally = blocks.New(k.tableSettings()), tally.New()
	k.figures, k.suspects = figures.New(), suspects.New(k.cfg.Limits.Sources)
	if k.cfg.Shares.Enabled {
		k.judge, k.reader = shares.New(k.shareSettings()), shares.NewReader()
		k.ready, k.warned = false, false
		k.began = k.host.boot()
		k.connections = k.began
	}
	for _, rule := range k.cfg.Rules {
		k.tally.Touch(tally.By{Origin: blocks.Rule.String(), Rule: rule})
	}
	k.mu.Unlock()
	if err := k.load(ctx, host); err != nil {
		return errors.Join(err, k.Shutdown(ctx))
	}
	if k.logs != nil {
		name, _ := os.Hostname()
		writer := blocklog.NewWriter(metadata.ScopeName, k.set.BuildInfo.Version, name)
		k.queue = delivery.NewQueue(k.logs, writer.Logs, k.set.Logger)
		k.queue.Start()
	}
	if err := k.attach(host); err != nil {
		return errors.Join(err, k.Shutdown(ctx))
	}
	if k.telemetry, err = k.register(); err != nil {
		return errors.Join(fmt.Errorf("register the internal metrics: %w", err), k.Shutdown(ctx))
	}
	api, err := follow.NewCrowdSec(ctx, &k.cfg.CrowdSec, k.cfg.Limits.Networks, k.allowed.Networks, k.host.boot, host, k.set.TelemetrySettings)
	if err != nil {
		return errors.Join(err, k.Shutdown(ctx))
	}
	var server *control.Server
	if k.cfg.Socket != "" {
		if server, err = control.Listen(k.cfg.Socket); err != nil {
			return errors.Join(fmt.Errorf("socket: %w", err), k.Shutdown(ctx))
		}
	}
	if endpoint := k.cfg.CrowdSec.Client.Endpoint; endpoint != "" {
		k.allowed.Peers(ctx, "crowdsec", []string{endpoint})
	}
	k.refresh()
	files := k.files()
	k.mu.Lock()
	k.enter(func([]blocks.Block) bool { return true })
	k.mu.Unlock()
	k.hold()
	background, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.done.Go(func() { k.run(background) })
	k.done.Go(func() { k.runHold(background) })
	k.done.Go(func() { k.runCuts(background) })
	if server != nil {
		k.done.Go(func() { k.serve(background, server) })
	}
	k.follow(background, files, api)
	return nil
}

func (k *keeper) tableSettings() blocks.Settings {
	s := blocks.Defaults()
	s.IPv6Prefix, s.Length, s.MaxTTL, s.PerMinute = k.cfg.IPv6Prefix, k.cfg.TTL, k.cfg.MaxTTL, k.cfg.MaxBlocks
	s.Limits[blocks.Rule] = k.cfg.Limits.Sources
	s.Random = rand.Float64
	return s
}

// read decides on records. Before Start and after Shutdown there is nobody to decide.
func (k *keeper) read(logs plog.Logs) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.table == nil {
		return
	}
	now := k.host.boot()
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, r := range scope.LogRecords().All() {
				k.learn(r, now)
				asked, ok := record.Read(r)
				if !ok {
					k.figures.Records[figures.NothingAsked]++
					continue
				}
				more := k.suspect(&asked, now)
				switch {
				case !slices.Contains(k.cfg.Rules, asked.Rule):
					k.figures.Records[figures.OtherRule]++
				case !asked.Over:
					k.figures.Records[figures.Request]++
					k.ask(&asked, more)
				}
			}
		}
	}
}

// run does what time brings until the context ends.
func (k *keeper) run(ctx context.Context) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	measure := time.NewTicker(k.cfg.MetricsInterval)
	defer measure.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	store := time.NewTicker(saveEvery)
	defer store.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.expire()
			k.weigh()
		case <-store.C:
			k.save(ctx)
		case <-look.C:
			k.refresh()
		case <-measure.C:
			k.sweep()
			k.measure(ctx)
		}
	}
}

// runHold renews the deadline, whatever a consumer or the storage waits for.
func (k *keeper) runHold(ctx context.Context) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.hold()
		}
	}
}

// Shutdown lets everything pass, detaches the guard, and delivers what waits.
func (k *keeper) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopFor)
	defer cancel()
	if k.cancel != nil {
		k.cancel()
		k.done.Wait()
		k.sweep()
		k.measure(ctx)
		k.cancel = nil
	}
	k.save(ctx)
	err := errors.Join(k.detach(), k.closeStorage(ctx))
	if k.queue != nil {
		k.queue.Stop(ctx)
	}
	if k.telemetry != nil {
		k.telemetry.Shutdown()
		k.telemetry = nil
	}
	return err
}

// report tells the operator what is missing.
func (k *keeper) report(host component.Host, message string, err error) {
	k.set.Logger.Error(message, zap.Error(err))
	componentstatus.ReportStatus(host, componentstatus.NewPermanentErrorEvent(fmt.Errorf("%s: %w", message, err)))
}
