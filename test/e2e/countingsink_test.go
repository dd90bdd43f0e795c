// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"context"
	"maps"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// countingSink takes OTLP over gRPC on a Unix socket, so that every namespace
// reaches it and no connection of its own is among those that are counted. It keeps
// counts only, however long it runs, and refuses when it is told to.
type countingSink struct {
	endpoint string

	mu       sync.Mutex
	refuses  bool
	refusals int64
	// records are by the name of the event.
	records map[string]int64
	// ports are those that a metric was about.
	ports map[int64]bool
	// most is, by metric, the most series that one snapshot had.
	most map[string]int
}

func startCountingSink(t *testing.T) *countingSink {
	t.Helper()
	path := filepath.Join(t.TempDir(), "otlp.sock")
	s := &countingSink{
		endpoint: "unix://" + path,
		records:  map[string]int64{}, ports: map[int64]bool{}, most: map[string]int{},
	}
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	server := grpc.NewServer()
	plogotlp.RegisterGRPCServer(server, &logsService{sink: s})
	pmetricotlp.RegisterGRPCServer(server, &metricsService{sink: s})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return s
}

// refuse makes it refuse everything, or take it again. A client may try again later.
func (s *countingSink) refuse(refuses bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = refuses
}

// taken counts the records by the event of the books that they are about.
func (s *countingSink) taken() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int64{}
	for event, name := range eventNames {
		counts[event] = s.records[name]
	}
	return counts
}

// series are the most series that each metric had, and the ports that they were about.
func (s *countingSink) series() (most map[string]int, ports map[int64]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.most), maps.Clone(s.ports)
}

// take runs count unless the sink refuses.
func (s *countingSink) take(count func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses {
		s.refusals++
		return status.Error(codes.Unavailable, "the sink refuses for a while")
	}
	count()
	return nil
}

type logsService struct {
	plogotlp.UnimplementedGRPCServer
	sink *countingSink
}

func (l *logsService) Export(_ context.Context, request plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	return plogotlp.NewExportResponse(), l.sink.take(func() {
		for _, resource := range request.Logs().ResourceLogs().All() {
			for _, scope := range resource.ScopeLogs().All() {
				for _, record := range scope.LogRecords().All() {
					l.sink.records[record.EventName()]++
				}
			}
		}
	})
}

type metricsService struct {
	pmetricotlp.UnimplementedGRPCServer
	sink *countingSink
}

func (m *metricsService) Export(_ context.Context, request pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	return pmetricotlp.NewExportResponse(), m.sink.take(func() {
		counts := map[string]int{}
		for _, resource := range request.Metrics().ResourceMetrics().All() {
			for _, scope := range resource.ScopeMetrics().All() {
				for _, metric := range scope.Metrics().All() {
					m.count(metric, counts)
				}
			}
		}
		for name, n := range counts {
			m.sink.most[name] = max(m.sink.most[name], n)
		}
	})
}

func (m *metricsService) count(metric pmetric.Metric, counts map[string]int) {
	eachPoint(pmetric.NewResourceMetrics().Resource(), metric, func(p point) {
		counts[p.metric]++
		if port, ok := p.values["server.port"].(int64); ok {
			m.sink.ports[port] = true
		}
	})
}
