// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series"
)

// metricRig is a MetricSender whose consumer the test steers: it announces each snapshot by its
// points of drops, and waits for the answer.
type metricRig struct {
	*MetricSender
	at      time.Time
	arrived chan []int64
	answers chan error
}

func newMetricRig(t *testing.T) *metricRig {
	t.Helper()
	r := &metricRig{at: time.Unix(1_700_000_000, 0), arrived: make(chan []int64), answers: make(chan error)}
	set := receivertest.NewNopSettings(metadata.Type)
	report, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{ReceiverID: set.ID, ReceiverCreateSettings: set})
	require.NoError(t, err)
	next := metricsFunc(func(_ context.Context, data pmetric.Metrics) error {
		r.arrived <- drops(data)
		return <-r.answers
	})
	at := r.at
	r.MetricSender = NewMetricSender(MetricOptions{
		Next: next, Report: report, SeriesLimit: 100, Logger: zap.NewNop(),
		Series: series.New(metadata.NewDefaultMetricsBuilderConfig(), series.Options{
			SeriesLimit: 100, FromZero: true, Now: func() time.Time { return at },
		}),
	})
	go r.run(t.Context())
	return r
}

// drops are the values of tcp.server.drops in the order of the message.
func drops(data pmetric.Metrics) []int64 {
	var values []int64
	for _, resource := range data.ResourceMetrics().All() {
		for _, m := range resource.ScopeMetrics().At(0).Metrics().All() {
			if m.Name() != "tcp.server.drops" {
				continue
			}
			for _, p := range m.Sum().DataPoints().All() {
				values = append(values, p.IntValue())
			}
		}
	}
	return values
}

// next counts drops with a reason, and publishes a snapshot.
func (r *metricRig) next(reason string, n uint64) {
	r.at = r.at.Add(10 * time.Second)
	r.series.AddCount(series.Key{Port: 80, IPv4: true}, connection.Drops, reason, n)
	r.publish(r.at)
}

func (r *metricRig) close() {
	r.latest.Close()
	<-r.finished
}

// TestRefusedPointsOf0ComeAgain: a series begins at 0 until the consumer has taken that.
func TestRefusedPointsOf0ComeAgain(t *testing.T) {
	r := newMetricRig(t)
	refused := errors.New("busy")
	for range 2 {
		r.next("a", 50)
		<-r.arrived
		r.answers <- refused
		waitFor(t, "the refusal", func() bool {
			r.undelivered.mu.Lock()
			defer r.undelivered.mu.Unlock()
			return len(r.undelivered.begun) == 1
		})
	}
	r.next("a", 50)
	assert.Equal(t, []int64{0, 150}, <-r.arrived)
	r.answers <- nil
	r.next("a", 50)
	assert.Equal(t, []int64{200}, <-r.arrived)
	r.answers <- nil
	r.next("b", 1)
	assert.Equal(t, []int64{200, 0, 1}, <-r.arrived)
	r.answers <- consumererror.NewPermanent(refused)
	r.next("b", 1)
	assert.Equal(t, []int64{200, 2}, <-r.arrived, "refused for good")
	r.answers <- nil
	r.close()
}

// TestReplacedPointsOf0ComeAgain: a snapshot that was replaced before it was sent reached nobody.
func TestReplacedPointsOf0ComeAgain(t *testing.T) {
	r := newMetricRig(t)
	r.next("a", 1)
	assert.Equal(t, []int64{0, 1}, <-r.arrived)
	r.next("b", 1)
	r.next("b", 1)
	r.answers <- nil
	assert.Equal(t, []int64{1, 0, 2}, <-r.arrived)
	r.answers <- nil
	r.close()
}

// TestSnapshotBeforeTheRefusalWasKnown: it lacks the points of 0 that were refused, and is not
// sent unless it is the last.
func TestSnapshotBeforeTheRefusalWasKnown(t *testing.T) {
	r := newMetricRig(t)
	refused := errors.New("busy")
	r.next("a", 1)
	<-r.arrived
	r.next("a", 1)
	r.answers <- refused
	waitFor(t, "the second snapshot is taken", func() bool {
		r.latest.mu.Lock()
		defer r.latest.mu.Unlock()
		return !r.latest.full
	})
	r.next("a", 1)
	assert.Equal(t, []int64{0, 3}, <-r.arrived)
	r.next("a", 1)
	r.answers <- refused
	r.latest.Close()
	assert.Equal(t, []int64{4}, <-r.arrived, "the last")
	r.answers <- nil
	<-r.finished
}
