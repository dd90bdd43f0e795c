// SPDX-License-Identifier: Apache-2.0

// Package scoring makes a vector of each source and window, and has it scored: by the anomaly
// score, by a model of the user's own, or by both.
package scoring

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/anomaly"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/model"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

// AnomalyConfig is the configuration block anomaly.
type AnomalyConfig struct {
	Enabled bool `mapstructure:"enabled"`
	// WarmUp is how long all vectors are learned and none is scored.
	WarmUp time.Duration `mapstructure:"warm_up"`
	// Threshold is the lowest score that becomes a record.
	Threshold float64 `mapstructure:"threshold"`

	_ struct{}
}

// Config of a Scorer.
type Config struct {
	Anomaly AnomalyConfig
	Model   model.Config
	// Window is how long the records of a source are one vector.
	Window time.Duration
	// Sources is how many can have a window at one time, Services how many are compared with
	// themselves.
	Sources, Services int
	// Suspect tells whether a source has an open finding. It is called by Tick.
	Suspect func(evidence.Key) bool
	// Report gets scores over a threshold. Tick calls it, and so does the model's goroutine, which
	// holds Lock then.
	Report func(*Score)
	Lock   sync.Locker
	Logger *zap.Logger
}

// Place is a source on one host, in one network namespace.
type Place struct {
	Source evidence.Key
	Host   uint64
}

// Subject is who a vector is about.
type Subject struct {
	Place
	// Client is the last address seen.
	Client netip.Addr
	// HostName is empty if unknown.
	HostName string
}

// Score is a score over a threshold.
type Score struct {
	Subject
	Begin, End time.Time
	Value      float64
	// Model is the name of the model; empty for the anomaly score.
	Model string
	// Causes are the features that made an anomaly score, the largest part first.
	Causes []vector.Feature
	// Proven reports whether the source completed a handshake in the window.
	Proven bool
	Vector vector.Vector
}

// Counts are totals of vectors.
type Counts struct {
	// Made are vectors, and Lost records of sources that found no room for a window.
	Made, Lost uint64
	// Judged have an anomaly score; the others came in the warm-up. Learned were ordinary.
	Judged, Learned uint64
	// Open are windows.
	Open int
	// Displaced are services whose connections are no longer known because others were new, by whether
	// they were known well.
	Displaced [2]uint64
}

// Scorer scores. Its user holds Config.Lock around Add, AddClosed, Tick, State, Restore and Counts.
type Scorer struct {
	config   Config
	windows  *vector.Windows[Place, Subject]
	detector *anomaly.Detector
	model    *model.Client[*Score]
	counts   Counts
}

// New makes a Scorer. The client is for the model, if there is one.
func New(config Config, seed uint64, client *http.Client) (*Scorer, error) {
	s := &Scorer{config: config, windows: vector.NewWindows[Place, Subject](config.Window, config.Sources, config.Services)}
	if config.Anomaly.Enabled {
		s.detector = anomaly.NewDetector(config.Anomaly.WarmUp, seed)
	}
	if config.Model.Enabled() {
		var err error
		if s.model, err = model.New(config.Model, client, config.Logger, s.scored); err != nil {
			return nil, fmt.Errorf("model: %w", err)
		}
	}
	return s, nil
}

// Start begins to ask the model. Without the lock.
func (s *Scorer) Start(ctx context.Context) error {
	if s.model == nil {
		return nil
	}
	if err := s.model.Start(ctx); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	return nil
}

// Shutdown stops asking the model. Without the lock.
func (s *Scorer) Shutdown() {
	if s.model != nil {
		s.model.Shutdown()
	}
}

// Add adds a record of tcp.server.source. It returns where to note who the source is; nil if there
// is no room.
func (s *Scorer) Add(at Place, now time.Time, facts *vector.Facts) *Subject {
	return s.windows.Add(at, now, facts)
}

// AddClosed adds a closed connection to a port.
func (s *Scorer) AddClosed(at Place, now time.Time, port uint16, closed *vector.Closed) {
	s.windows.AddClosed(at, now, vector.Service{Host: at.Host, Port: port}, closed)
}

// Tick scores the vectors of windows that are over.
func (s *Scorer) Tick(now time.Time) { s.windows.Expire(now, s.judge) }

func (s *Scorer) judge(w *vector.Window[Place, Subject]) {
	s.counts.Made++
	w.About.Place = w.Key
	suspect := s.config.Suspect(w.Key.Source)
	w.Ordinary = !suspect
	if s.detector != nil {
		s.judgeAnomaly(w, suspect)
	}
	if s.model != nil {
		s.model.Offer(&w.Vector, scoreOf(w))
	}
}

func (s *Scorer) judgeAnomaly(w *vector.Window[Place, Subject], suspect bool) {
	score, judged := s.detector.Judge(&w.Vector, w.End, suspect)
	if !judged {
		return
	}
	s.counts.Judged++
	w.Ordinary = score.Learned
	if score.Learned {
		s.counts.Learned++
	}
	if score.Value < s.config.Anomaly.Threshold {
		return
	}
	report := scoreOf(w)
	report.Value = score.Value
	for _, cause := range score.Causes {
		if cause.Part > 0 {
			report.Causes = append(report.Causes, cause.Feature)
		}
	}
	s.config.Report(report)
}

func scoreOf(w *vector.Window[Place, Subject]) *Score {
	return &Score{Subject: w.About, Begin: w.Begin, End: w.End, Proven: w.Proven, Vector: w.Vector}
}

// scored gets the scores of the model.
func (s *Scorer) scored(ctx context.Context, results []model.Result[*Score]) {
	s.config.Lock.Lock()
	defer s.config.Lock.Unlock()
	if ctx.Err() != nil {
		return
	}
	for _, r := range results {
		if r.Score >= s.config.Model.Threshold {
			r.With.Value, r.With.Model = r.Score, s.config.Model.Name
			s.config.Report(r.With)
		}
	}
}

// Counts returns the totals.
func (s *Scorer) Counts() Counts {
	c := s.counts
	c.Lost, c.Open, c.Displaced = s.windows.Lost(), s.windows.Open(), s.windows.Displaced()
	return c
}

// ModelCount is how many vectors had an outcome, and ModelQueued how many wait. Without a model
// both are 0.
func (s *Scorer) ModelCount(o model.Outcome) uint64 {
	if s.model == nil {
		return 0
	}
	return s.model.Count(o)
}

// ModelQueued is how many vectors wait for the model.
func (s *Scorer) ModelQueued() int {
	if s.model == nil {
		return 0
	}
	return s.model.Queued()
}

// ErrNothing is why there is no state.
var ErrNothing = errors.New("the anomaly score is off")

// State is what the anomaly score has learned.
func (s *Scorer) State() ([]byte, error) {
	if s.detector == nil {
		return nil, ErrNothing
	}
	return s.detector.State(s.config.Window)
}

// Restore takes over what was learned before.
func (s *Scorer) Restore(text []byte) error {
	if s.detector == nil {
		return ErrNothing
	}
	return s.detector.Restore(text, s.config.Window)
}
