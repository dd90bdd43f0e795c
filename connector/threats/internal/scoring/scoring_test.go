// SPDX-License-Identifier: Apache-2.0

package scoring

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/model"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Unix(1_700_000_000, 0)

// desk is a scorer with what it reported.
type desk struct {
	*Scorer
	lock     sync.Mutex
	now      time.Time
	suspects map[evidence.Key]bool
	scores   []*Score
}

func newDesk(t *testing.T, change func(*Config)) *desk {
	t.Helper()
	d := &desk{now: start, suspects: map[evidence.Key]bool{}}
	config := Config{
		Anomaly: DefaultAnomaly(), Model: model.DefaultConfig(), Window: DefaultWindow, Sources: 1000,
		Suspect: func(key evidence.Key) bool { return d.suspects[key] },
		Report:  func(s *Score) { d.scores = append(d.scores, s) },
		Lock:    &d.lock, Logger: zap.NewNop(),
	}
	change(&config)
	s, err := New(config, 1, &http.Client{Transport: &http.Transport{}, Timeout: config.Model.Client.Timeout})
	require.NoError(t, err)
	d.Scorer = s
	require.NoError(t, s.Start(t.Context()))
	t.Cleanup(s.Shutdown)
	return d
}

// add adds a record of a source, whose number is its address.
func (d *desk) add(source int, counts map[vector.Count]float64) {
	d.lock.Lock()
	defer d.lock.Unlock()
	var facts vector.Facts
	for c, n := range counts {
		facts.Set(c, n)
	}
	if about := d.Add(Place{evidence.Key{Lo: uint64(source)}, 1}, d.now, &facts); about != nil {
		about.Client, about.HostName = netip.AddrFrom4([4]byte{192, 0, 2, byte(source)}), "a"
	}
}

func (d *desk) pass(time time.Duration) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.now = d.now.Add(time)
	d.Tick(d.now)
}

// ordinary lets some clients do what clients do.
func (d *desk) ordinary(windows int) {
	random := rand.New(rand.NewPCG(1, 2))
	for range windows {
		for source := range 50 {
			n := float64(1 + random.IntN(6))
			d.add(source, map[vector.Count]float64{
				vector.SYNListening: n, vector.SYNClosed: 0, vector.Completed: n, vector.Ports: 1, vector.PortsFailed: 0,
				vector.Open: float64(random.IntN(3)), vector.ReceiveRate: random.Float64() * 1e4,
			})
		}
		d.pass(DefaultWindow)
	}
}

var scan = map[vector.Count]float64{
	vector.SYNListening: 2, vector.SYNClosed: 498, vector.Completed: 0, vector.Ports: 500, vector.PortsFailed: 498, vector.Open: 0, vector.ReceiveRate: 0,
}

func onlyAnomaly(c *Config) { c.Anomaly.Enabled, c.Anomaly.WarmUp = true, 5*time.Minute }

func TestAnomalyScore(t *testing.T) {
	d := newDesk(t, onlyAnomaly)
	d.ordinary(60)
	assert.Empty(t, d.scores)
	d.add(99, scan)
	d.pass(DefaultWindow)
	require.Len(t, d.scores, 1)
	s := d.scores[0]
	assert.Equal(t, uint64(99), s.Source.Lo)
	assert.Equal(t, "192.0.2.99", s.Client.String())
	assert.Equal(t, "a", s.HostName)
	assert.Equal(t, DefaultWindow, s.End.Sub(s.Begin))
	assert.False(t, s.Proven)
	assert.Len(t, s.Causes, 3)
	assert.Contains(t, s.Causes, vector.FailedPorts)
	assert.Equal(t, 498., s.Vector[vector.FailedPorts])
	assert.Empty(t, s.Model)
	c := d.Counts()
	assert.EqualValues(t, 60*50+1, c.Made)
	assert.Positive(t, c.Judged)
	assert.Positive(t, c.Learned)
	assert.Less(t, c.Learned, c.Judged)
	assert.Zero(t, c.Open+int(c.Lost))
}

func TestSuspects(t *testing.T) {
	d := newDesk(t, onlyAnomaly)
	d.suspects[evidence.Key{Lo: 99}] = true
	for range 20 {
		d.add(99, scan)
		d.ordinary(1)
	}
	d.ordinary(40)
	before := d.Counts().Learned
	d.add(99, scan)
	d.pass(DefaultWindow)
	assert.Equal(t, before, d.Counts().Learned)
	assert.Len(t, d.scores, 1, "a suspect is scored and not learned")
}

func TestNothingIsOn(t *testing.T) {
	d := newDesk(t, func(*Config) {})
	d.ordinary(3)
	assert.Empty(t, d.scores)
	_, err := d.State()
	require.ErrorIs(t, err, ErrNothing)
	require.ErrorIs(t, d.Restore(nil), ErrNothing)
	assert.Zero(t, d.ModelCount(model.Scored))
	assert.Zero(t, d.ModelQueued())
}

func TestStateOverARestart(t *testing.T) {
	d := newDesk(t, onlyAnomaly)
	d.ordinary(60)
	text, err := d.State()
	require.NoError(t, err)
	later := newDesk(t, onlyAnomaly)
	require.NoError(t, later.Restore(text))
	later.add(99, scan)
	later.pass(DefaultWindow)
	assert.Len(t, later.scores, 1, "no second warm-up")
	other := newDesk(t, func(c *Config) {
		onlyAnomaly(c)
		c.Window = time.Minute
	})
	require.Error(t, other.Restore(text))
}

// TestModel asks a model whose score is the number of failed ports.
func TestModel(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/models/ports", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"name":"ports","inputs":[{"name":"x","datatype":"FP64","shape":[-1,1]}],"outputs":[{"name":"y","datatype":"FP64","shape":[-1]}]}`))
	})
	mux.HandleFunc("POST /v2/models/ports/infer", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Inputs []struct{ Data []float64 } }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		out := map[string]any{"outputs": []any{map[string]any{"name": "y", "datatype": "FP64", "shape": []int{len(in.Inputs[0].Data)}, "data": in.Inputs[0].Data}}}
		_ = json.NewEncoder(w).Encode(out)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	d := newDesk(t, func(c *Config) {
		c.Model.Client.Endpoint, c.Model.Client.Timeout, c.Model.Name = server.URL, 10*time.Second, "ports"
		c.Model.Features, c.Model.Normalise.Form, c.Model.Threshold = []string{"failed_ports"}, "raw", 400
	})
	d.add(1, map[vector.Count]float64{vector.PortsFailed: 3, vector.Completed: 1})
	d.add(2, map[vector.Count]float64{vector.PortsFailed: 498, vector.Completed: 1})
	d.pass(DefaultWindow)
	require.Eventually(t, func() bool { return d.ModelCount(model.Scored) == 2 }, 20*time.Second, time.Millisecond)
	d.Shutdown()
	require.Len(t, d.scores, 1, "only what is over the threshold")
	s := d.scores[0]
	assert.Equal(t, uint64(2), s.Source.Lo)
	assert.Equal(t, "ports", s.Model)
	assert.Equal(t, 498., s.Value)
	assert.Empty(t, s.Causes)
	assert.True(t, s.Proven)
}

func TestFaultsOfAConfiguration(t *testing.T) {
	c := DefaultAnomaly()
	var f fault.Faults
	c.Validate(&f)
	assert.Empty(t, f)
	c.WarmUp, c.Threshold = -1, 0
	c.Validate(&f)
	require.Len(t, f, 2)
	assert.ErrorContains(t, f[0], "anomaly::warm_up: -1ns is out of range")
	assert.ErrorContains(t, f[1], "anomaly::threshold: 0 is out of range")
}

// closed ends connections of a source to one service, all alike.
func (d *desk) closed(source, connections int, received, seconds float64) {
	d.lock.Lock()
	defer d.lock.Unlock()
	for range connections {
		d.AddClosed(Place{evidence.Key{Lo: uint64(source)}, 1}, d.now, 22, &vector.Closed{Received: received, Sent: received, RTT: 0.01, Duration: seconds})
	}
}

// TestGuessersTeachNothing: a source that guesses for long stays as unlike its service as it was.
func TestGuessersTeachNothing(t *testing.T) {
	d := newDesk(t, func(c *Config) {
		onlyAnomaly(c)
		c.Services, c.Anomaly.Threshold = 8, 0.01
	})
	var unlike []float64
	for window := range 200 {
		d.scores = nil
		for source := range 20 {
			d.closed(source, 2, 3700, 1.4)
		}
		if window >= 60 {
			// What else it does is what others do.
			d.add(99, map[vector.Count]float64{vector.SYNListening: 3, vector.Completed: 3, vector.Ports: 1, vector.PortsFailed: 0})
			d.closed(99, 40, 1200, 0.2)
		}
		d.ordinary(1)
		for _, s := range d.scores {
			if s.Source.Lo == 99 {
				unlike = append(unlike, s.Vector[vector.UnlikeService])
			}
		}
	}
	require.Len(t, unlike, 140)
	assert.Greater(t, unlike[0], 3.)
	assert.GreaterOrEqual(t, unlike[139], unlike[0])
}
