// SPDX-License-Identifier: Apache-2.0

//go:build evaluation

package threats

import (
	"bufio"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/rules"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/scoring"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

const ordinaryClass = "ordinary"

// evaluation judges records of scripts/evaluate.sh. It learns until the labelled time.
type evaluation struct {
	*judge
	labels  map[string]string
	trained time.Time
	scores  map[string][]*scoring.Score
	// found are the rules that found sources of a class.
	found map[string]map[string]bool
	// unnamed are findings without a source.
	unnamed []string
}

func newEvaluation(t *testing.T, folder string) *evaluation {
	t.Helper()
	e := &evaluation{labels: map[string]string{}, scores: map[string][]*scoring.Score{}, found: map[string]map[string]bool{}}
	text, err := os.ReadFile(filepath.Join(folder, "labels"))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		address, class, _ := strings.Cut(strings.TrimSpace(line), " ")
		e.labels[address] = class
	}
	text, err = os.ReadFile(filepath.Join(folder, "trained"))
	require.NoError(t, err)
	trained, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	require.NoError(t, err)
	e.trained = time.Unix(0, trained)

	cfg := createDefaultConfig()
	e.judge = &judge{cfg: cfg, wall: hostClock()}
	e.engine = rules.NewEngine(engine.Config{
		Rules: cfg.Rules, IPv6Prefix: cfg.IPv6Prefix, Sources: cfg.Limits.Sources, Services: cfg.Limits.Services,
		Findings: cfg.Limits.Findings, MaxFindings: cfg.MaxFindings, EndAfter: cfg.EndAfter, Key: 1, Tell: e.tellFinding,
	})
	e.reader = reading.NewReader(1)
	config := scoring.Config{
		Anomaly: scoring.AnomalyConfig{Enabled: true, Threshold: math.SmallestNonzeroFloat64}, Model: cfg.Model,
		Window: cfg.ScoreWindow, Sources: cfg.Limits.Sources, Services: cfg.Limits.Services, Report: e.note, Lock: &e.mu, Logger: zap.NewNop(),
		// Nothing is learned of what is tested.
		Suspect: func(key evidence.Key) bool { return e.over() || e.engine.Suspect(key) },
	}
	e.scorer, err = scoring.New(config, 1, nil)
	require.NoError(t, err)
	e.engine.Add(engine.Watch(e.watch))
	return e
}

func (e *evaluation) over() bool { return e.engine.Clock() > e.trained.UnixNano() }

func (e *evaluation) note(s *scoring.Score) {
	if class, labelled := e.labels[s.Client.String()]; labelled && s.Begin.After(e.trained) {
		e.scores[class] = append(e.scores[class], s)
	}
}

func (e *evaluation) tellFinding(f *finding.Finding) {
	if !f.Source.IsValid() && len(f.Sources) == 0 && f.State == finding.Begin {
		e.unnamed = append(e.unnamed, fmt.Sprintf("%s on port %d", catalogue.ID(f.Rule), f.Port))
	}
	for _, source := range append(slices.Clone(f.Sources), f.Source.String(), sourceOf(f.Prefix)) {
		if class, labelled := e.labels[source]; labelled {
			if e.found[class] == nil {
				e.found[class] = map[string]bool{}
			}
			e.found[class][catalogue.ID(f.Rule).String()] = true
		}
	}
}

func sourceOf(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.Addr().String()
}

// auc is the probability that a positive is above a negative.
func auc(negative, positive []float64) float64 {
	slices.Sort(negative)
	sum := 0.0
	for _, p := range positive {
		low, _ := slices.BinarySearch(negative, p)
		high, _ := slices.BinarySearchFunc(negative, p, func(n, p float64) int {
			if n <= p {
				return -1
			}
			return 1
		})
		sum += float64(low) + float64(high-low)/2
	}
	return sum / float64(len(negative)) / float64(len(positive))
}

func valuesOf(scores []*scoring.Score, of func(*scoring.Score) float64) []float64 {
	var all []float64
	for _, s := range scores {
		all = append(all, of(s))
	}
	return all
}

// bestFeature is the feature that alone tells a class best; an absent one is 0.
func bestFeature(ordinary, attack []*scoring.Score) (string, float64) {
	best, name := 0.0, ""
	for i := range vector.Size {
		of := func(s *scoring.Score) float64 {
			if v := s.Vector[i]; v == v {
				return v
			}
			return 0
		}
		if a := auc(valuesOf(ordinary, of), valuesOf(attack, of)); a > best {
			best, name = a, vector.Feature(i).String()
		}
	}
	return name, best
}

// TestEvaluateScores prints how well the score and the rules tell attacks from ordinary traffic.
func TestEvaluateScores(t *testing.T) {
	folder := os.Getenv("EBPF_TCP_EVALUATION")
	require.NotEmpty(t, folder, "scripts/evaluate.sh sets EBPF_TCP_EVALUATION")
	e := newEvaluation(t, folder)
	file, err := os.Open(filepath.Join(folder, "records.json"))
	require.NoError(t, err)
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(lines.Bytes())
		require.NoError(t, err)
		e.read(logs)
	}
	require.NoError(t, lines.Err())
	e.scorer.Tick(time.Unix(0, e.engine.Clock()).Add(time.Hour))

	value := func(s *scoring.Score) float64 { return s.Value }
	ordinary := e.scores[ordinaryClass]
	require.NotEmpty(t, ordinary, "too few vectors before the tests: counts %+v, records %v", e.scorer.Counts(), e.counts)
	// No false alarm in the sample. It is too short to tell a rate of one a day.
	limit := slices.Max(valuesOf(ordinary, value))
	c := e.scorer.Counts()
	fmt.Printf("learned %d vectors; tested %d ordinary ones, whose highest score is %.2f; rules that found ordinary clients: %v\n",
		c.Made-c.Judged+c.Learned, len(ordinary), limit, slices.Sorted(maps.Keys(e.found[ordinaryClass])))
	fmt.Printf("| Attack | Vectors | Scores | AUC | Above all ordinary ones | Above the default threshold | Best single feature | Its AUC | Rules |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, class := range slices.Sorted(maps.Keys(e.scores)) {
		if class == ordinaryClass {
			continue
		}
		attack := e.scores[class]
		above := func(limit float64) int {
			n := 0
			for _, s := range attack {
				if s.Value > limit {
					n++
				}
			}
			return 100 * n / len(attack)
		}
		name, best := bestFeature(ordinary, attack)
		fmt.Printf("| `%s` | %d | %.2f to %.2f | %.3f | %d %% | %d %% | `%s` | %.3f | %s |\n", class, len(attack),
			slices.Min(valuesOf(attack, value)), slices.Max(valuesOf(attack, value)),
			auc(valuesOf(ordinary, value), valuesOf(attack, value)), above(limit), above(scoring.DefaultAnomaly().Threshold), name, best,
			strings.Join(slices.Sorted(maps.Keys(e.found[class])), ", "))
	}
	fmt.Printf("findings that name nobody: %v\n", e.unnamed)
	for address, class := range e.labels {
		if class != ordinaryClass && len(e.scores[class]) == 0 {
			fmt.Printf("no vector of %s (%s)\n", class, address)
		}
	}
}
