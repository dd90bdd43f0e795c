// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a client with what it gave.
type bench struct {
	*Client[int]
	logs    *observer.ObservedLogs
	offered int

	mu     sync.Mutex
	scores map[int]float64
}

// newBench makes a client that is not started.
func newBench(t *testing.T, config Config) *bench {
	t.Helper()
	require.NoError(t, faults(&config))
	core, logs := observer.New(zapcore.InfoLevel)
	b := &bench{logs: logs, scores: map[int]float64{}}
	client, err := New(config, &http.Client{Timeout: config.Client.Timeout, Transport: &http.Transport{}}, zap.New(core),
		func(_ context.Context, results []Result[int]) {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, r := range results {
				b.scores[r.With] = r.Score
			}
		})
	require.NoError(t, err)
	b.Client = client
	t.Cleanup(func() {
		b.Shutdown()
		b.balanced(t)
	})
	return b
}

func started(t *testing.T, config Config) *bench {
	t.Helper()
	b := newBench(t, config)
	require.NoError(t, b.Start(t.Context()))
	return b
}

// balanced holds that every vector has one outcome.
func (b *bench) balanced(t *testing.T) {
	t.Helper()
	total := b.Queued()
	for _, o := range Outcomes() {
		total += int(b.Count(o))
	}
	assert.Equal(t, b.offered, total)
}

// offer offers vectors whose sums are 1.5 more than their numbers.
func (b *bench) offer(from, to int) {
	for i := from; i < to; i++ {
		b.Offer(&vector.Vector{vector.Attempts: float64(i), vector.Failed: 1, vector.FailedShare: 0.5}, i)
		b.offered++
	}
}

// wait waits until so many vectors had this outcome.
func (b *bench) wait(t *testing.T, o Outcome, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return int(b.Count(o)) >= n }, 20*time.Second, time.Millisecond, "%v", o)
	require.Equal(t, n, int(b.Count(o)), "%v", o)
}

func (b *bench) score(i int) (float64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, known := b.scores[i]
	return s, known
}

func TestScores(t *testing.T) {
	for name, change := range map[string]func(*metadata, *Config){
		"as it is":           func(*metadata, *Config) {},
		"a version":          func(_ *metadata, c *Config) { c.Version = "2" },
		"FP64":               func(m *metadata, _ *Config) { m.Inputs[0].Datatype = "FP64" },
		"a slash at the end": func(_ *metadata, c *Config) { c.Client.Endpoint += "/" },
		"tensors by name":    func(_ *metadata, c *Config) { c.Input, c.Output = "x", "score" },
		"column 0":           func(_ *metadata, c *Config) { c.Column = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			m := fits()
			s := serve(t, m)
			config := configOf(s)
			change(&s.metadata, &config)
			b := newBench(t, config)
			b.offer(0, 600)
			require.NoError(t, b.Start(t.Context()))
			b.wait(t, Scored, 600)
			for i := range 600 {
				score, _ := b.score(i)
				require.Equal(t, float64(i)+1.5, score)
			}
			assert.Equal(t, []int{256, 256, 88}, s.batches())
			assert.Empty(t, b.logs.All())
		})
	}
}

func TestOneVectorForEachRequest(t *testing.T) {
	for name, test := range map[string]struct{ in, out []int64 }{
		"no batch":            {[]int64{3}, []int64{1}},
		"a batch of one":      {[]int64{1, 3}, []int64{1, 1}},
		"an output of no row": {[]int64{3}, []int64{-1}},
	} {
		t.Run(name, func(t *testing.T) {
			m := fits()
			m.Inputs[0].Shape, m.Outputs[0].Shape = test.in, test.out
			s := serve(t, m)
			s.set(func(w http.ResponseWriter, sums []float64) { reply(w, answerOf([]int64{1}, sums)) })
			b := started(t, configOf(s))
			b.offer(0, 5)
			b.wait(t, Scored, 5)
			score, _ := b.score(4)
			assert.Equal(t, 5.5, score)
			assert.Equal(t, []int{1, 1, 1, 1, 1}, s.batches())
		})
	}
}

// TestAnswers tries answers to two vectors whose sums are 1.5 and 2.5.
func TestAnswers(t *testing.T) {
	output := func(shape, data string) string {
		return `{"model_name":"sum","outputs":[{"name":"score","datatype":"FP32","shape":` + shape + `,"data":` + data + `}]}`
	}
	for name, test := range map[string]struct {
		text     string
		outcomes map[Outcome]int
	}{
		"flat":                     {output("[2,1]", "[1.5,2.5]"), map[Outcome]int{Scored: 2}},
		"nested":                   {output("[2,1]", "[[1.5],[2.5]]"), map[Outcome]int{Scored: 2}},
		"one dimension":            {output("[2]", "[1.5,2.5]"), map[Outcome]int{Scored: 2}},
		"exponents":                {output("[2]", "[15e-1,2.5E0]"), map[Outcome]int{Scored: 2}},
		"another output, too":      {`{"outputs":[{"name":"label","shape":[2],"data":["NaN","b"]},{"name":"score","shape":[2],"data":[1.5,2.5]}]}`, map[Outcome]int{Scored: 2}},
		"null":                     {output("[2]", "[null,2.5]"), map[Outcome]int{Scored: 1, Null: 1}},
		"NaN":                      {output("[2,1]", "[[NaN],[2.5]]"), map[Outcome]int{Scored: 1, NaN: 1}},
		"NaN as a string":          {output("[2]", `["NaN",2.5]`), map[Outcome]int{Scored: 1, NaN: 1}},
		"Infinity":                 {output("[2]", "[-Infinity,Infinity]"), map[Outcome]int{NaN: 2}},
		"beyond all numbers":       {output("[2]", "[1e999,2.5]"), map[Outcome]int{Scored: 1, NaN: 1}},
		"too few":                  {output("[1]", "[1.5]"), map[Outcome]int{WrongCount: 2}},
		"too many":                 {output("[3]", "[1.5,2.5,3]"), map[Outcome]int{WrongCount: 2}},
		"two for each":             {output("[2,2]", "[1,2,3,4]"), map[Outcome]int{WrongCount: 2}},
		"none":                     {output("[2]", "[]"), map[Outcome]int{WrongCount: 2}},
		"a shape that lies":        {output("[5,7]", "[1.5,2.5]"), map[Outcome]int{WrongCount: 2}},
		"a negative shape":         {output("[-1,-2]", "[1.5,2.5]"), map[Outcome]int{WrongCount: 2}},
		"an enormous shape":        {output("[9223372036854775807,2]", "[1.5,2.5]"), map[Outcome]int{WrongCount: 2}},
		"no shape":                 {`{"outputs":[{"name":"score","data":[1.5,2.5]}]}`, map[Outcome]int{WrongCount: 2}},
		"rows for columns":         {output("[1,2]", "[1.5,2.5]"), map[Outcome]int{WrongCount: 2}},
		"no data":                  {`{"outputs":[{"name":"score","shape":[2]}]}`, map[Outcome]int{WrongCount: 2}},
		"strings":                  {output("[2]", `["a","b"]`), map[Outcome]int{InvalidAnswer: 2}},
		"true":                     {output("[2]", "[true,false]"), map[Outcome]int{InvalidAnswer: 2}},
		"objects":                  {output("[2]", `[{"a":1},2]`), map[Outcome]int{InvalidAnswer: 2}},
		"an error":                 {`{"error":"out of memory"}`, map[Outcome]int{ErrorAnswer: 2}},
		"an error of another form": {`{"error":{"code":7}}`, map[Outcome]int{ErrorAnswer: 2}},
		"no output":                {`{"outputs":[]}`, map[Outcome]int{InvalidAnswer: 2}},
		"another output":           {`{"outputs":[{"name":"x","shape":[2],"data":[1,2]}]}`, map[Outcome]int{InvalidAnswer: 2}},
		"nothing":                  {``, map[Outcome]int{InvalidAnswer: 2}},
		"HTML":                     {`<html>`, map[Outcome]int{InvalidAnswer: 2}},
		"an array":                 {`[1.5,2.5]`, map[Outcome]int{InvalidAnswer: 2}},
		"cut":                      {output("[2]", "[1.5,2.5"), map[Outcome]int{InvalidAnswer: 2}},
		"far too long":             {`{"x":"` + strings.Repeat("a", 1<<20) + `"}`, map[Outcome]int{TooLarge: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, fits())
			s.set(raw(test.text))
			b := newBench(t, configOf(s))
			b.offer(0, 2)
			require.NoError(t, b.Start(t.Context()))
			for o, n := range test.outcomes {
				b.wait(t, o, n)
			}
			if score, known := b.score(1); known {
				assert.Equal(t, 2.5, score)
			}
			s.set(nil)
			b.offer(2, 12)
			b.wait(t, Scored, test.outcomes[Scored]+10)
		})
	}
}

func TestColumns(t *testing.T) {
	m := fits()
	m.Outputs[0].Shape = []int64{-1, 2}
	s := serve(t, m)
	s.set(func(w http.ResponseWriter, sums []float64) {
		var rows [][]float64
		for _, sum := range sums {
			rows = append(rows, []float64{-sum, sum})
		}
		reply(w, answerOf([]int64{int64(len(sums)), 2}, rows))
	})
	config := configOf(s)
	config.Column = 1
	b := started(t, config)
	b.offer(0, 3)
	b.wait(t, Scored, 3)
	score, _ := b.score(2)
	assert.Equal(t, 3.5, score)
}

func TestStatusIsTold(t *testing.T) {
	s := serve(t, fits())
	s.set(func(w http.ResponseWriter, _ []float64) {
		refuse(w, http.StatusInternalServerError, "no\x1b[2J memory")
	})
	b := newBench(t, configOf(s))
	b.offer(0, 7)
	require.NoError(t, b.Start(t.Context()))
	b.wait(t, HTTPStatus, 7)
	require.Eventually(t, func() bool { return b.logs.Len() == 1 }, 20*time.Second, time.Millisecond)
	said := b.logs.All()[0].ContextMap()["error"].(string)
	assert.Contains(t, said, "500")
	assert.Contains(t, said, "memory")
	assert.NotContains(t, said, "\x1b")
}

func TestNoAnswer(t *testing.T) {
	s := serve(t, fits())
	s.set(func(http.ResponseWriter, []float64) { <-s.release })
	config := configOf(s)
	config.Client.Timeout = 100 * time.Millisecond
	b := newBench(t, config)
	b.offer(0, 3)
	require.NoError(t, b.Start(t.Context()))
	b.wait(t, Timeout, 3)
	s.set(nil)
	b.offer(3, 6)
	b.wait(t, Scored, 3)
	_, known := b.score(0)
	assert.False(t, known, "a score that comes late is none")
}

func TestConnectionEnds(t *testing.T) {
	s := serve(t, fits())
	s.set(func(w http.ResponseWriter, _ []float64) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("{"))
		panic(http.ErrAbortHandler)
	})
	b := newBench(t, configOf(s))
	b.offer(0, 3)
	require.NoError(t, b.Start(t.Context()))
	b.wait(t, Unreachable, 3)
}

// TestOfferNeverWaits holds it against a server that does not answer.
func TestOfferNeverWaits(t *testing.T) {
	s := serve(t, fits())
	s.set(func(http.ResponseWriter, []float64) { <-s.release })
	config := configOf(s)
	config.QueueSize, config.MaxBatch = 100, 10
	b := started(t, config)
	b.offer(0, 10_000)
	assert.GreaterOrEqual(t, int(b.Count(QueueFull)), 10_000-110)
	assert.LessOrEqual(t, b.Queued(), 100)
	b.Shutdown()
	assert.Zero(t, b.Queued())
	assert.Positive(t, b.Count(Shutdown))
}

func TestBreaker(t *testing.T) {
	s := serve(t, fits())
	s.set(func(w http.ResponseWriter, _ []float64) { refuse(w, http.StatusServiceUnavailable, "busy") })
	config := configOf(s)
	config.MaxBatch, config.Breaker.Failures = 1, 3
	b := newBench(t, config)
	var clock sync.Mutex
	now := time.Unix(1_700_000_000, 0)
	b.now = func() time.Time {
		clock.Lock()
		defer clock.Unlock()
		return now
	}
	pass := func(d time.Duration) {
		clock.Lock()
		defer clock.Unlock()
		now = now.Add(d)
	}
	b.offer(0, 10)
	require.NoError(t, b.Start(t.Context()))
	b.wait(t, CircuitOpen, 7)
	b.wait(t, HTTPStatus, 3)
	assert.Len(t, s.batches(), 3, "no request while it is open")

	pass(config.Breaker.Pause)
	b.offer(10, 12)
	b.wait(t, HTTPStatus, 4)
	b.wait(t, CircuitOpen, 8)

	pass(config.Breaker.Pause)
	s.set(nil)
	b.offer(12, 20)
	b.wait(t, Scored, 8)
	var said []string
	for _, line := range b.logs.All() {
		said = append(said, line.Message)
	}
	assert.Equal(t, []string{
		"the model gives no scores", "the model gives no scores", "the model gives no scores", "the model gives scores again",
	}, said, "the first failure, two pauses, the end")
}

// TestServerComesLater begins with a server that is not there, then with one that has another model.
func TestServerComesLater(t *testing.T) {
	s := serve(t, fits())
	url := s.URL
	s.mu.Lock()
	s.metadata.Inputs[0].Shape = []int64{-1, 4}
	s.mu.Unlock()
	config := configOf(s)
	config.Client.Endpoint = "http://127.0.0.1:1"
	config.Breaker.Failures = 1000
	b := started(t, config)
	b.offer(0, 3)
	b.wait(t, Unreachable, 3)
	b.Shutdown()

	config.Client.Endpoint = url
	b = newBench(t, config)
	require.ErrorContains(t, b.Start(t.Context()), "another shape")
}

func TestModelChanges(t *testing.T) {
	s := serve(t, fits())
	config := configOf(s)
	config.Breaker = BreakerConfig{Failures: 1, Pause: time.Second}
	b := newBench(t, config)
	var clock sync.Mutex
	now := time.Unix(1_700_000_000, 0)
	b.now = func() time.Time {
		clock.Lock()
		defer clock.Unlock()
		now = now.Add(time.Hour) // pauses are over at once
		return now
	}
	require.NoError(t, b.Start(t.Context()))
	b.offer(0, 2)
	b.wait(t, Scored, 2)
	s.mu.Lock()
	s.metadata.Inputs[0].Name = "y"
	s.fault = func(w http.ResponseWriter, _ []float64) { refuse(w, http.StatusBadRequest, "no input x") }
	s.mu.Unlock()
	b.offer(2, 3)
	require.Eventually(t, func() bool { return b.Count(HTTPStatus) == 1 }, 20*time.Second, time.Millisecond)
	s.mu.Lock()
	s.refused, s.fault = nil, nil // it was asked for the input of before
	s.mu.Unlock()
	b.offer(3, 6)
	b.wait(t, Scored, 5)
}

func TestNormalising(t *testing.T) {
	s := serve(t, fits())
	config := configOf(s)
	config.Normalise = NormaliseConfig{Form: formLog, Center: []float64{0, 1, 0}, Scale: []float64{1, 2, 0.5}, Absent: -7}
	b := started(t, config)
	b.Offer(&vector.Vector{vector.Attempts: math.E - 1, vector.Failed: math.Exp(3) - 1, vector.FailedShare: math.NaN()}, 0)
	b.offered++
	b.wait(t, Scored, 1)
	score, _ := b.score(0)
	assert.InDelta(t, 1+1-7, score, 1e-6)
}

func TestNotFinite(t *testing.T) {
	s := serve(t, fits())
	config := configOf(s)
	config.Normalise.Scale = []float64{1e-300, 1, 1}
	b := started(t, config)
	b.offer(1e6, 1e6+1)
	b.wait(t, NotFinite, 1)
}

func TestShutdownWithoutStart(t *testing.T) {
	s := serve(t, fits())
	b := newBench(t, configOf(s))
	b.Shutdown()
	require.NoError(t, b.Start(t.Context()))
	b.Shutdown()
	require.NoError(t, b.Start(t.Context()))
	b.offer(0, 1)
	b.wait(t, Scored, 1)
}
