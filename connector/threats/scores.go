// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/scoring"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

// anomalyKey is where the storage has what the anomaly score learned.
const anomalyKey = "anomaly"

// beginScores makes what gives scores, if something does.
func (j *judge) beginScores(ctx context.Context, host component.Host) error {
	if !j.cfg.Anomaly.Enabled && !j.cfg.Model.Enabled() {
		return nil
	}
	var client *http.Client
	if j.cfg.Model.Enabled() {
		var err error
		if client, err = j.cfg.Model.Client.ToClient(ctx, host.GetExtensions(), j.set.TelemetrySettings); err != nil {
			return fmt.Errorf("model: %w", err)
		}
	}
	scorer, err := scoring.New(scoring.Config{
		Anomaly: j.cfg.Anomaly, Model: j.cfg.Model, Window: j.cfg.ScoreWindow, Sources: j.cfg.Limits.Sources, Services: j.cfg.Limits.Services,
		Suspect: j.engine.Suspect, Report: j.report, Lock: &j.mu, Logger: j.set.Logger,
	}, rand.Uint64(), client)
	if err != nil {
		return err
	}
	j.loadScores(ctx, scorer)
	if err := scorer.Start(ctx); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.scorer = scorer
	j.engine.Add(engine.Watch(j.watch))
	return nil
}

// endScores stops asking the model.
func (j *judge) endScores() {
	j.mu.Lock()
	scorer := j.scorer
	j.mu.Unlock()
	if scorer != nil {
		scorer.Shutdown()
	}
}

// watch collects what vectors are made of. It is called with the lock.
func (j *judge) watch(m *engine.Moment) {
	at := scoring.Place{Source: m.Key, Host: m.HostOf()}
	now := time.Unix(0, j.engine.Clock())
	j.scorer.Tick(now) // records may come faster than time passes
	if m.Event == reading.ConnectionClose {
		j.scorer.AddClosed(at, now, m.Port, &vector.Closed{
			Duration: m.Duration, Received: float64(m.Received), Sent: float64(m.Sent), RTT: m.RTT, ClientReset: m.ClientReset,
		})
		return
	}
	facts := m.Record.Source.Facts()
	about := j.scorer.Add(at, now, &facts)
	if about == nil {
		return
	}
	about.Client = m.Client
	if about.HostName != m.Host {
		about.HostName = strings.Clone(m.Host)
	}
}

// score scores the vectors of windows that are over. It is called with the lock.
func (j *judge) score() {
	if j.scorer != nil {
		j.scorer.Tick(time.Unix(0, j.engine.Clock()))
	}
}

// report makes a finding of a score. It is called with the lock.
func (j *judge) report(s *scoring.Score) {
	rule := catalogue.Anomaly
	if s.Model != "" {
		rule = catalogue.Model
	}
	f := &finding.Finding{
		At: j.engine.Clock(), First: s.Begin.UnixNano(), Last: s.End.UnixNano(), Count: uint64(max(1, s.Value)),
		Spoofable: true, Source: s.Client, Prefix: j.engine.PrefixOf(s.Client),
		Score: &finding.Score{Value: s.Value, Model: s.Model, Proven: s.Proven},
	}
	if s.HostName != "" {
		f.Hosts = []string{s.HostName}
	}
	for _, cause := range s.Causes {
		f.Score.Causes = append(f.Score.Causes, cause.String())
	}
	for i, value := range s.Vector {
		if value == value { // a feature that was not read is absent
			f.Score.Vector = append(f.Score.Vector, finding.Fact{Key: vector.Feature(i).String(), Value: value})
		}
	}
	j.engine.Score(rule, s.Source, s.Subject.Host, f)
}

// loadScores continues what was learned before. What can't be used is learned again.
func (j *judge) loadScores(ctx context.Context, scorer *scoring.Scorer) {
	if j.client == nil || !j.cfg.Anomaly.Enabled {
		return
	}
	text, err := j.client.Get(ctx, anomalyKey)
	if err == nil && text != nil {
		err = scorer.Restore(text)
	}
	if err != nil {
		j.failed.Add(1)
		j.set.Logger.Warn("learn again what is ordinary", zap.Error(err))
	}
}

// saveScores stores what was learned.
func (j *judge) saveScores(ctx context.Context) {
	j.mu.Lock()
	if j.scorer == nil {
		j.mu.Unlock()
		return
	}
	text, err := j.scorer.State()
	j.mu.Unlock()
	if errors.Is(err, scoring.ErrNothing) {
		return
	}
	if err == nil {
		err = j.client.Set(ctx, anomalyKey, text)
	}
	if err != nil {
		j.failed.Add(1)
		j.set.Logger.Warn("what is ordinary was not stored", zap.Error(err))
	}
}
