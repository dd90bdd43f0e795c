// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// requestSink takes OTLP over gRPC on a Unix socket, which every namespace reaches. It keeps
// the records of requests and the latest points.
type requestSink struct {
	endpoint string

	mu       sync.Mutex
	refuses  bool
	refusals int
	requests []record
	latest   map[string]point
}

func startRequestSink(t *testing.T) *requestSink {
	t.Helper()
	path := filepath.Join(t.TempDir(), "otlp.sock")
	s := &requestSink{endpoint: "unix://" + path, latest: map[string]point{}}
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	stop, ended := lab.ServeExports(listener, s.take)
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return s
}

// refuse makes it refuse everything, or take it again.
func (s *requestSink) refuse(refuses bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = refuses
}

func (s *requestSink) take(signal string, message []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses {
		s.refusals++
		return status.Error(codes.Unavailable, "the sink refuses for a while")
	}
	if signal == "logs" {
		return s.takeLogs(message)
	}
	metrics := pmetricotlp.NewExportRequest()
	if err := metrics.UnmarshalProto(message); err != nil {
		return err
	}
	for _, resource := range metrics.Metrics().ResourceMetrics().All() {
		for _, scope := range resource.ScopeMetrics().All() {
			for _, m := range scope.Metrics().All() {
				eachPoint(resource.Resource(), m, func(p point) { s.latest[p.metric+fmt.Sprint(p.values)] = p })
			}
		}
	}
	return nil
}

func (s *requestSink) takeLogs(message []byte) error {
	logs := plogotlp.NewExportRequest()
	if err := logs.UnmarshalProto(message); err != nil {
		return err
	}
	for _, resource := range logs.Logs().ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, r := range scope.LogRecords().All() {
				if r.EventName() == requestEvent {
					s.requests = append(s.requests, newRecord(resource.Resource(), r))
				}
			}
		}
	}
	return nil
}

// taken is how many records of requests came.
func (s *requestSink) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// records are those so far that match.
func (s *requestSink) records(match func(record) bool) []record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []record
	for _, r := range s.requests {
		if match(r) {
			found = append(found, r)
		}
	}
	return found
}

// count adds up the observations of a histogram, or the values of a sum, at a port.
func (s *requestSink) count(metric string, port int) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := 0.0
	for _, p := range slices.Collect(maps.Values(s.latest)) {
		if p.metric == metric && p.values["server.port"] == int64(port) {
			total += float64(p.count) + p.value
		}
	}
	return total
}

// localPort matches the records of requests to one port of the server.
func localPort(port int) func(record) bool {
	return func(r record) bool { return r.values["network.local.port"] == int64(port) }
}
