// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/checkpoint"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/literal"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/payload"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/rules"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/scoring"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/threatlog"
	"github.com/ebpftcp/ebpftcpreceiver/internal/delivery"
)

// tickEvery is how often time passes for the rules when no records come.
const tickEvery = time.Second

// stopFor is how long a stop waits for the consumer.
const stopFor = 5 * time.Second

// judge is what the two ends share: the rules, their state, and where findings go.
type judge struct {
	cfg     *Config
	set     connector.Settings
	wall    clock
	logs    consumer.Logs
	metrics consumer.Metrics
	payload func(PayloadSettings) (PayloadEngine, error)

	queue     *delivery.Queue[*finding.Finding]
	telemetry *metadata.TelemetryBuilder
	client    storage.Client
	cancel    context.CancelFunc
	done      sync.WaitGroup
	// failed counts attempts to store or load the state that failed.
	failed atomic.Uint64

	mu     sync.Mutex
	engine *engine.Engine
	// scorer is nil if nothing gives scores.
	scorer *scoring.Scorer
	// payloads is nil unless payload_signature is on.
	payloads *payload.Queue
	// stopping: records are counted and no longer judged.
	stopping bool
	reader   *reading.Reader
	record   reading.Record
	counts   [reading.Events][reading.Outcomes]uint64
	// moved is the wall clock when the rules' clock last moved.
	moved int64
	since int64
}

func newJudge(cfg *Config, set connector.Settings, wall clock, open func(PayloadSettings) (PayloadEngine, error)) *judge {
	return &judge{cfg: cfg, set: set, wall: wall, payload: open}
}

// Start restores the state and begins to judge.
func (j *judge) Start(ctx context.Context, host component.Host) error {
	lists, err := readLists(j.cfg.Rules.TLSFingerprint.Files)
	if err != nil {
		return err
	}
	literals, err := readLiterals(j.cfg.Rules.LiteralSignature.Files)
	if err != nil {
		return err
	}
	if err := j.openStorage(ctx, host); err != nil {
		return err
	}
	if j.logs != nil {
		writer := threatlog.NewWriter(metadata.ScopeName, j.set.BuildInfo.Version)
		j.queue = delivery.NewQueue(j.logs, writer.Logs, j.set.Logger)
		j.queue.Start()
	}
	j.begin(ctx, lists, literals)
	if err := j.beginScores(ctx, host); err != nil {
		return errors.Join(err, j.Shutdown(ctx))
	}
	if err := j.beginPayloads(); err != nil {
		return errors.Join(err, j.Shutdown(ctx))
	}
	if j.telemetry, err = j.register(); err != nil {
		return errors.Join(fmt.Errorf("register the internal metrics: %w", err), j.Shutdown(ctx))
	}
	background, cancel := context.WithCancel(context.Background())
	j.cancel = cancel
	j.done.Go(func() { j.run(background) })
	return nil
}

// begin makes the rules, with the state of a former run.
func (j *judge) begin(ctx context.Context, lists map[string]string, literals *literal.Set) {
	saved := j.load(ctx)
	key := rand.Uint64() | 1
	if saved != nil {
		key = saved.Key
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.engine = rules.NewEngine(engine.Config{
		Rules: j.cfg.Rules, IPv6Prefix: j.cfg.IPv6Prefix, Except: settings.Prefixes(j.cfg.Except),
		Sources: j.cfg.Limits.Sources, Services: j.cfg.Limits.Services, Findings: j.cfg.Limits.Findings,
		MaxFindings: j.cfg.MaxFindings, EndAfter: j.cfg.EndAfter, Lists: lists, Literals: literals, Key: key, Tell: j.tell,
	})
	if saved != nil {
		j.engine.Restore(saved)
	}
	j.reader = reading.NewReader(key)
	j.moved, j.since = j.wall(), j.wall()
	j.payloads, j.stopping = nil, false
}

func (j *judge) tell(f *finding.Finding) {
	if j.queue != nil {
		j.queue.Add(f)
	}
}

// read judges records. Before Start and after Shutdown there is nobody to judge.
func (j *judge) read(logs plog.Logs) {
	wall := j.wall()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.engine == nil || j.stopping {
		j.miss(logs)
		return
	}
	before := j.engine.Clock()
	for _, resource := range logs.ResourceLogs().All() {
		j.reader.Resource(resource.Resource().Attributes())
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				outcome := j.reader.Read(record, &j.record)
				if outcome == reading.Ignored {
					j.counts[reading.Unknown][outcome]++
					continue
				}
				j.counts[j.record.Event][outcome]++
				if outcome == reading.Read {
					j.engine.Record(&j.record, wall)
				}
			}
		}
	}
	if j.engine.Clock() != before {
		j.moved = wall
	}
}

// miss counts the records that came before the start or after the end. What they would have found,
// no state and no consumer would have had.
func (j *judge) miss(logs plog.Logs) {
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				event := reading.EventOf(record.EventName())
				if event == reading.Unknown {
					j.counts[event][reading.Ignored]++
				} else {
					j.counts[event][reading.Stopping]++
				}
			}
		}
	}
}

// run does what time brings until the context ends.
func (j *judge) run(ctx context.Context) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	save := time.NewTicker(j.cfg.CheckpointInterval)
	defer save.Stop()
	measure := time.NewTicker(j.cfg.MetricsInterval)
	defer measure.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			j.tick()
		case <-save.C:
			j.save(ctx)
		case <-measure.C:
			j.measure(ctx)
		}
	}
}

// tick lets time pass: as much as has passed here since the latest record.
func (j *judge) tick() {
	wall := j.wall()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.engine.Started() {
		j.engine.Tick(j.engine.Clock() + max(0, wall-j.moved))
		j.moved = wall
		j.score()
	}
}

// Shutdown stores the state and delivers what waits.
func (j *judge) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopFor)
	defer cancel()
	j.mu.Lock()
	j.stopping = true
	j.mu.Unlock()
	if j.cancel != nil {
		j.cancel()
		j.done.Wait()
		j.measure(ctx)
		j.cancel = nil
	}
	j.endScores()
	err := j.endPayloads(ctx)
	if j.queue != nil {
		j.queue.Stop(ctx)
	}
	if j.client != nil {
		j.save(ctx)
		err = errors.Join(err, j.client.Close(ctx))
		j.client = nil
	}
	if j.telemetry != nil {
		j.telemetry.Shutdown()
		j.telemetry = nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.engine = nil
	return err
}

// openStorage finds the storage extension.
func (j *judge) openStorage(ctx context.Context, host component.Host) error {
	if j.cfg.Storage == nil {
		return nil
	}
	extension, ok := host.GetExtensions()[*j.cfg.Storage]
	if !ok {
		return fmt.Errorf("storage: there is no extension %q", j.cfg.Storage)
	}
	store, ok := extension.(storage.Extension)
	if !ok {
		return fmt.Errorf("storage: the extension %q stores nothing", j.cfg.Storage)
	}
	client, err := store.GetClient(ctx, component.KindConnector, j.set.ID, "")
	if err != nil {
		return fmt.Errorf("storage: open %q: %w", j.cfg.Storage, err)
	}
	j.client = client
	return nil
}

// load returns the state of a former run. A state that can't be read is none.
func (j *judge) load(ctx context.Context) *engine.State {
	if j.client == nil {
		return nil
	}
	saved, err := checkpoint.Load(ctx, j.client)
	if err != nil {
		j.failed.Add(1)
		j.set.Logger.Warn("begin without the former state", zap.Error(err))
		return nil
	}
	return saved
}

// save stores the state. Only the copy is made while records wait.
func (j *judge) save(ctx context.Context) {
	if j.client == nil {
		return
	}
	j.mu.Lock()
	if j.engine == nil {
		j.mu.Unlock()
		return
	}
	state := j.engine.Save()
	j.mu.Unlock()
	if err := checkpoint.Save(ctx, j.client, state); err != nil {
		j.failed.Add(1)
		j.set.Logger.Warn("the state was not stored", zap.Error(err))
	}
	j.saveScores(ctx)
}
