// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow/keep"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocklog"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/deadline"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/figures"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/follow"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/intake"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/lifted"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/outlet"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/settings"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/tally"
	"github.com/ebpftcp/ebpftcpreceiver/internal/control"
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

	telemetry *metadata.TelemetryBuilder
	cancel    context.CancelFunc
	done      sync.WaitGroup
	client    storage.Client
	// deadline is nil if the kernel refuses the guard. It needs no lock.
	deadline *deadline.Deadline
	// cut asks for the end of open connections.
	cut chan struct{}
	// ended counts connections, failed requests to the kernel.
	ended, failed atomic.Uint64

	// allowed may be changed at any time.
	allowed *keep.List

	// mu guards the rest. Nobody reads /proc or ends connections while holding it.
	mu sync.Mutex
	// kernel is nil if the kernel refuses the guard, and before Start. Then the table is kept,
	// and nothing is dropped.
	kernel kernel
	// mode is that of the configuration, or dry_run if the kernel refuses more.
	mode string
	// applied is the part of allowed that the kernel has.
	applied *allow.List
	// files and api follow the decisions of other programs; api is nil without one.
	files *follow.Files
	api   *follow.CrowdSec
	// withheld tells that a list has entries that are allowed: they may come back.
	withheld bool
	// asking are the keys whose blocks contain an allowed address.
	asking map[netip.Prefix]bool
	table  *blocks.Table
	tally  *tally.Tally
	intake *intake.Intake
	outlet *outlet.Outlet
	// byHand are entries of lists that a person has lifted.
	byHand lifted.Set
	// spared are entries of lists that are allowed, and of which that was told.
	spared lifted.Set
	// changed tells that the table is not stored as it is, quiet that decisions become no records.
	changed, quiet bool
	// stored is when what is known of sources and models was stored.
	stored  time.Duration
	figures figures.Figures
	since   time.Time
}

func newKeeper(cfg *Config, set connector.Settings, host machine) *keeper {
	return &keeper{cfg: cfg, set: set, host: host, cut: make(chan struct{}, 1)}
}

// Start attaches the guard and begins to decide. Mode off does nothing.
func (k *keeper) Start(ctx context.Context, host component.Host) error {
	if k.cfg.Mode == modeOff {
		return nil
	}
	if err := k.begin(); err != nil {
		return err
	}
	if err := k.attach(host); err != nil {
		return errors.Join(err, k.Shutdown(ctx))
	}
	if err := k.load(ctx, host); err != nil {
		return errors.Join(err, k.Shutdown(ctx))
	}
	telemetry, err := k.register()
	if k.telemetry = telemetry; err != nil {
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
	files := k.newFiles()
	k.mu.Lock()
	k.files, k.api = files, api
	k.enter(func([]blocks.Block) bool { return true })
	k.mu.Unlock()
	k.work(server)
	return nil
}

// begin makes what decides.
func (k *keeper) begin() error {
	allowed, err := keep.New(settings.Prefixes(k.cfg.Allow), k.set.Logger)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mode, k.allowed, k.applied, k.since = k.cfg.Mode, allowed, nil, k.host.wall()
	k.asking, k.withheld, k.byHand, k.spared = make(map[netip.Prefix]bool), false, lifted.Set{}, lifted.Set{}
	k.table, k.tally, k.figures = blocks.New(k.tableSettings()), tally.New(), figures.New()
	k.intake = intake.New(k.intakeSettings(), k.host.boot())
	name, _ := os.Hostname()
	k.outlet = outlet.New(k.logs, blocklog.NewWriter(metadata.ScopeName, k.set.BuildInfo.Version, name), k.cfg.MaxRefusals, k.set.Logger)
	for _, rule := range k.cfg.Rules {
		k.tally.Touch(tally.By{Origin: blocks.Rule.String(), Rule: rule})
	}
	return nil
}

func (k *keeper) tableSettings() blocks.Settings {
	s := blocks.Defaults()
	s.IPv6Prefix, s.Length, s.MaxTTL, s.PerMinute = k.cfg.IPv6Prefix, k.cfg.TTL, k.cfg.MaxTTL, k.cfg.MaxBlocks
	s.Limits[blocks.Rule] = k.cfg.Limits.Sources
	s.Random = rand.Float64
	return s
}

// work starts what goes on until Shutdown.
func (k *keeper) work(server *control.Server) {
	background, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.done.Go(func() { k.run(background) })
	if holds, cutting := k.deadline, k.kernel; holds != nil {
		holds.Hold()
		k.done.Go(func() { holds.Run(background, tickEvery) })
		k.done.Go(func() { k.runCuts(background, cutting, holds) })
	}
	if server != nil {
		k.done.Go(func() { k.serve(background, server) })
	}
	if k.api != nil {
		k.done.Go(func() { k.api.Run(background, k.decided) })
	}
	if len(k.cfg.BlockFiles)+len(k.cfg.AllowFiles) > 0 {
		k.done.Go(func() { k.files.Run(background) })
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
			k.saveKnown(ctx, knownEvery)
			k.save(ctx)
		case <-look.C:
			k.refresh()
		case <-measure.C:
			k.sweep()
			k.measure(ctx)
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
	k.saveKnown(ctx, 0)
	k.save(ctx)
	err := errors.Join(k.detach(), k.closeStorage(ctx))
	k.outlet.Stop(ctx)
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
