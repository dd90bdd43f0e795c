// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	logspb "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"
)

// strictSink takes OTLP over HTTP as a backend does that was made with protobuf's own
// library: a message with one string that is not UTF-8 is refused as a whole.
type strictSink struct {
	endpoint string

	mu       sync.Mutex
	refusals []error
	records  []*logspb.LogRecord
	// points are by the name of the metric.
	points map[string]int
}

func startStrictSink(t *testing.T) *strictSink {
	t.Helper()
	s := &strictSink{points: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/logs", s.take(func(body []byte) error {
		var data logspb.LogsData
		if err := proto.Unmarshal(body, &data); err != nil {
			return err
		}
		for _, resource := range data.ResourceLogs {
			for _, scope := range resource.ScopeLogs {
				s.records = append(s.records, scope.LogRecords...)
			}
		}
		return nil
	}))
	mux.HandleFunc("/v1/metrics", s.take(func(body []byte) error {
		var data metricspb.MetricsData
		if err := proto.Unmarshal(body, &data); err != nil {
			return err
		}
		for _, resource := range data.ResourceMetrics {
			for _, scope := range resource.ScopeMetrics {
				for _, metric := range scope.Metrics {
					s.points[metric.Name]++
				}
			}
		}
		return nil
	}))
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	require.NoError(t, err)
	s.endpoint = "http://" + listener.Addr().String()
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return s
}

func (s *strictSink) take(unmarshal func([]byte) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil {
			err = unmarshal(body)
		}
		if err != nil {
			s.refusals = append(s.refusals, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}
}

// refused are the messages that were.
func (s *strictSink) refused() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refusals)
}

// series counts the times that a metric was there.
func (s *strictSink) series(metric string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.points[metric]
}

// closes are the close records of a port, by the attributes that are strings.
func (s *strictSink) closes(port int64) []map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []map[string]string
	for _, record := range s.records {
		if record.EventName != "tcp.server.connection.close" {
			continue
		}
		found, texts := false, map[string]string{"body": record.Body.GetStringValue()}
		for _, attribute := range record.Attributes {
			found = found || attribute.Key == "server.port" && attribute.Value.GetIntValue() == port
			texts[attribute.Key] = attribute.Value.GetStringValue()
		}
		if found {
			all = append(all, texts)
		}
	}
	return all
}
