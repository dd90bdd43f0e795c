// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"maps"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// countingSink takes OTLP over gRPC on a Unix socket, so that every namespace
// reaches it and no connection of its own is among those that are counted. It keeps
// counts only, however long it runs, and refuses on request.
type countingSink struct {
	endpoint string

	mu       sync.Mutex
	refuses  bool
	refusals int64
	// records are by the name of the event.
	records map[string]int64
	// ports are the values of server.port in metrics.
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
	stop, ended := lab.ServeExports(listener, s.take)
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return s
}

// refuse makes it refuse everything, or take it again. A client may try again later.
func (s *countingSink) refuse(refuses bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = refuses
}

// taken counts the records by their event in the ledger.
func (s *countingSink) taken() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int64{}
	for event, name := range eventNames {
		counts[event] = s.records[name]
	}
	return counts
}

// series are the most series that each metric had, and their ports.
func (s *countingSink) series() (most map[string]int, ports map[int64]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.most), maps.Clone(s.ports)
}

// take counts a request unless the sink refuses.
func (s *countingSink) take(signal string, request []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses {
		s.refusals++
		return status.Error(codes.Unavailable, "the sink refuses for a while")
	}
	if signal == "logs" {
		return s.countLogs(request)
	}
	return s.countMetrics(request)
}

func (s *countingSink) countLogs(request []byte) error {
	logs := plogotlp.NewExportRequest()
	if err := logs.UnmarshalProto(request); err != nil {
		return err
	}
	for _, resource := range logs.Logs().ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				s.records[record.EventName()]++
			}
		}
	}
	return nil
}

func (s *countingSink) countMetrics(request []byte) error {
	metrics := pmetricotlp.NewExportRequest()
	if err := metrics.UnmarshalProto(request); err != nil {
		return err
	}
	counts := map[string]int{}
	count := func(p point) {
		counts[p.metric]++
		if port, ok := p.values["server.port"].(int64); ok {
			s.ports[port] = true
		}
	}
	for _, resource := range metrics.Metrics().ResourceMetrics().All() {
		for _, scope := range resource.ScopeMetrics().All() {
			for _, metric := range scope.Metrics().All() {
				eachPoint(pmetric.NewResourceMetrics().Resource(), metric, count)
			}
		}
	}
	for name, n := range counts {
		s.most[name] = max(s.most[name], n)
	}
	return nil
}
