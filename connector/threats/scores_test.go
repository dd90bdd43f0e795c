// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/metadata"
)

// scored is a connector with scores. Time is that of its records.
type scored struct {
	connector.Logs
	t   *testing.T
	now time.Time
	// wall is what the connector's own clock says, in ns.
	wall atomic.Int64
	sink *consumertest.LogsSink
}

func newScored(t *testing.T, host component.Host, change func(*Config)) *scored {
	t.Helper()
	s := &scored{t: t, now: time.Unix(1_700_000_000, 0), sink: &consumertest.LogsSink{}}
	s.advance(0)
	factory := newFactory(s.wall.Load)
	cfg := factory.CreateDefaultConfig().(*Config)
	change(cfg)
	require.NoError(t, cfg.Validate())
	var err error
	s.Logs, err = factory.CreateLogsToLogs(t.Context(), connectortest.NewNopSettings(metadata.Type), cfg, s.sink)
	require.NoError(t, err)
	require.NoError(t, s.Start(t.Context(), host))
	t.Cleanup(func() { require.NoError(t, s.Shutdown(context.Background())) })
	return s
}

// advance lets time pass. The connector's clock is ahead of the records.
func (s *scored) advance(d time.Duration) {
	s.now = s.now.Add(d)
	s.wall.Store(s.now.Add(240 * time.Hour).UnixNano())
}

// source sends a record of a source.
func (s *scored) source(address string, counts map[string]any) {
	s.t.Helper()
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("host.name", "web-1")
	record := resource.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	record.SetEventName("tcp.server.source")
	record.SetTimestamp(pcommon.NewTimestampFromTime(s.now))
	a := record.Attributes()
	a.PutStr("client.address", address)
	a.PutStr("tcp.source.prefix", address+"/32")
	for key, value := range counts {
		require.NoError(s.t, a.PutEmpty("tcp.source."+key).FromRaw(value))
	}
	require.NoError(s.t, s.ConsumeLogs(s.t.Context(), logs))
}

// ordinary sends what clients do, for some windows.
func (s *scored) ordinary(windows int) {
	random := rand.New(rand.NewPCG(1, 2))
	for range windows {
		for client := range 50 {
			n := int64(1 + random.IntN(6))
			s.source(fmt.Sprintf("192.0.2.%d", client+1), map[string]any{
				"syn.listening.count": n, "syn.closed.count": int64(0), "completed.count": n, "port.count": int64(1),
				"port.failed.count": int64(0), "receive.rate": random.Float64() * 1e4, "open.count": int64(random.IntN(3)),
			})
		}
		s.advance(10 * time.Second)
	}
}

// odd is a source that no rule finds: it gets answers from no port that listens.
var odd = map[string]any{
	"syn.listening.count": int64(4000), "syn.closed.count": int64(0), "completed.count": int64(1), "port.count": int64(1),
	"half_open.timeout.count": int64(3999),
}

// threats are the records of a rule or score.
func (s *scored) threats(name string) []plog.LogRecord {
	var found []plog.LogRecord
	for _, logs := range s.sink.AllLogs() {
		for _, resource := range logs.ResourceLogs().All() {
			for _, scope := range resource.ScopeLogs().All() {
				for _, record := range scope.LogRecords().All() {
					if v, _ := record.Attributes().Get("security_rule.name"); v.Str() == name {
						found = append(found, record)
					}
				}
			}
		}
	}
	return found
}

func withAnomaly(c *Config) {
	c.Anomaly.Enabled, c.Anomaly.WarmUp = true, 5*time.Minute
	c.Limits.Sources = 1000
}

func TestAnomalyRecord(t *testing.T) {
	s := newScored(t, componenttest.NewNopHost(), withAnomaly)
	s.ordinary(60)
	for range 5 {
		s.source("198.51.100.7", odd)
		s.ordinary(2)
	}
	require.Eventually(t, func() bool { return len(s.threats("anomaly")) > 0 }, 20*time.Second, time.Millisecond)
	records := s.threats("anomaly")
	assert.Len(t, records, 1, "one record for the first of five windows")
	record := records[0]
	assert.Equal(t, plog.SeverityNumberWarn, record.SeverityNumber())
	a := record.Attributes().AsRaw()
	assert.Equal(t, "198.51.100.7", a["client.address"])
	assert.Equal(t, "198.51.100.7/32", a["tcp.source.prefix"])
	assert.Equal(t, []any{"web-1"}, a["tcp.threat.hosts"])
	assert.Equal(t, "begin", a["tcp.threat.state"])
	assert.Equal(t, true, a["tcp.threat.spoofable"])
	assert.Equal(t, true, a["tcp.threat.proven"], "it completed one handshake")
	assert.Greater(t, a["tcp.threat.score"], 3.)
	assert.Len(t, a["tcp.threat.causes"], 3)
	assert.Contains(t, a["tcp.threat.causes"], "unfinished")
	assert.Equal(t, 3999., a["tcp.threat.feature.half_open"])
	assert.NotContains(t, a, "tcp.threat.feature.stray_ports", "what was not read is absent")
	assert.NotContains(t, a, "tcp.threat.confidence")
	types := declared(t, "metadata.yaml").types("tcp.server.threat")
	for key, value := range record.Attributes().All() {
		kinds := map[string]pcommon.ValueType{
			"string": pcommon.ValueTypeStr, "int": pcommon.ValueTypeInt, "double": pcommon.ValueTypeDouble,
			"bool": pcommon.ValueTypeBool, "slice": pcommon.ValueTypeSlice,
		}
		assert.Equal(t, kinds[types[key]], value.Type(), key)
	}
	assert.Contains(t, record.Body().Str(), "tcp.server.threat anomaly begin from 198.51.100.7: score ")
}

// TestScoresAreOffByDefault holds that nothing is kept for vectors then.
func TestScoresAreOffByDefault(t *testing.T) {
	s := newScored(t, componenttest.NewNopHost(), func(*Config) {})
	s.ordinary(1)
	assert.Nil(t, s.Logs.(*toLogs).Unwrap().scorer)
}

// storageHost has one storage extension.
type storageHost struct {
	component.Host
	mu     sync.Mutex
	values map[string][]byte
}

var storageID = component.MustNewID("memory")

func (h *storageHost) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{storageID: h}
}
func (h *storageHost) Start(context.Context, component.Host) error { return nil }
func (h *storageHost) Shutdown(context.Context) error              { return nil }
func (h *storageHost) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return h, nil
}

func (h *storageHost) Get(ctx context.Context, key string) ([]byte, error) {
	op := storage.GetOperation(key)
	err := h.Batch(ctx, op)
	return op.Value, err
}

func (h *storageHost) Set(ctx context.Context, key string, value []byte) error {
	return h.Batch(ctx, storage.SetOperation(key, value))
}

func (h *storageHost) Delete(ctx context.Context, key string) error {
	return h.Batch(ctx, storage.DeleteOperation(key))
}
func (h *storageHost) Close(context.Context) error { return nil }

func (h *storageHost) Batch(_ context.Context, ops ...*storage.Operation) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range ops {
		switch op.Type {
		case storage.Get:
			op.Value = h.values[op.Key]
		case storage.Set:
			h.values[op.Key] = op.Value
		case storage.Delete:
			delete(h.values, op.Key)
		}
	}
	return nil
}

func TestAnomalyOverARestart(t *testing.T) {
	host := &storageHost{Host: componenttest.NewNopHost(), values: map[string][]byte{}}
	stored := func(c *Config) {
		withAnomaly(c)
		id := storageID
		c.Storage = &id
	}
	before := newScored(t, host, stored)
	before.ordinary(60)
	require.NoError(t, before.Shutdown(t.Context()))
	assert.NotEmpty(t, host.values[anomalyKey])

	after := newScored(t, host, stored)
	after.now = before.now
	after.source("198.51.100.7", odd)
	after.ordinary(3)
	require.Eventually(t, func() bool { return len(after.threats("anomaly")) == 1 }, 20*time.Second, time.Millisecond)

	host.values[anomalyKey] = []byte("damaged")
	damaged := newScored(t, host, stored)
	assert.EqualValues(t, 1, damaged.Logs.(*toLogs).Unwrap().failed.Load(), "it begins again, and says so")
}

// TestModelRecord asks a model whose score is the number of half-open handshakes.
func TestModelRecord(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/models/halves", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"name":"halves","inputs":[{"name":"x","datatype":"FP32","shape":[1]}],"outputs":[{"name":"y","datatype":"FP32","shape":[1]}]}`))
	})
	mux.HandleFunc("POST /v2/models/halves/infer", func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Inputs []struct{ Data []float64 } }
		if json.NewDecoder(r.Body).Decode(&asked) != nil || len(asked.Inputs) != 1 {
			return // The client has stopped meanwhile.
		}
		score := 0.75
		if asked.Inputs[0].Data[0] < 1 {
			score = 0
		}
		_, _ = fmt.Fprintf(w, `{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[%v]}]}`, score)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s := newScored(t, componenttest.NewNopHost(), func(c *Config) {
		c.Model.Client.Endpoint, c.Model.Name, c.Model.Features = server.URL, "halves", []string{"half_open"}
	})
	s.source("198.51.100.7", odd)
	s.ordinary(2)
	require.Eventually(t, func() bool { return len(s.threats("model/halves")) > 0 }, 20*time.Second, time.Millisecond)
	a := s.threats("model/halves")[0].Attributes().AsRaw()
	assert.Equal(t, 0.75, a["tcp.threat.score"])
	assert.Equal(t, 3999., a["tcp.threat.feature.half_open"])
	assert.NotContains(t, a, "tcp.threat.causes")

	// Windows in a row are counted, and each is told.
	for range 3 {
		s.source("198.51.100.7", odd)
		s.ordinary(1)
	}
	s.ordinary(1)
	require.Eventually(t, func() bool {
		var windows []int64
		for _, r := range s.threats("model/halves") {
			if client, _ := r.Attributes().Get("client.address"); client.Str() == "198.51.100.7" {
				n, _ := r.Attributes().Get("tcp.threat.windows")
				windows = append(windows, n.Int())
			}
		}
		return slices.Equal(windows, []int64{1, 2, 3})
	}, 20*time.Second, time.Millisecond)
}

func TestModelThatDoesNotFit(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1,7]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1]}]}`))
	}))
	t.Cleanup(server.Close)
	factory := NewFactory()
	cfg := factory.CreateDefaultConfig().(*Config)
	cfg.Model.Client.Endpoint, cfg.Model.Name, cfg.Model.Features = server.URL, "m", []string{"half_open"}
	c, err := factory.CreateLogsToLogs(t.Context(), connectortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.NoError(t, err)
	err = c.Start(t.Context(), componenttest.NewNopHost())
	require.ErrorContains(t, err, `[-1 7]`)
	require.ErrorContains(t, err, "of the 1 features half_open (log)")
	require.NoError(t, c.Shutdown(t.Context()))
}

// TestScoreConfiguration reads both blocks from YAML.
func TestScoreConfiguration(t *testing.T) {
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "scores.yaml"))
	require.NoError(t, err)
	cfg := createDefaultConfig()
	require.NoError(t, conf.Unmarshal(cfg))
	require.NoError(t, cfg.Validate())
	assert.True(t, cfg.Anomaly.Enabled)
	assert.Equal(t, 2*time.Hour, cfg.Anomaly.WarmUp)
	assert.Equal(t, "https://models.example:8443", cfg.Model.Client.Endpoint)
	assert.Equal(t, "/etc/ssl/models.pem", cfg.Model.Client.TLS.CAFile)
	assert.Equal(t, 500*time.Millisecond, cfg.Model.Client.Timeout)
	assert.Equal(t, []float64{2, 1}, cfg.Model.Normalise.Scale)
	assert.Equal(t, time.Minute, cfg.Model.Breaker.Pause)
	assert.Equal(t, 256, cfg.Model.MaxBatch)
}
