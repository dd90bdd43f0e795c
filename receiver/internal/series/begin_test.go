// SPDX-License-Identifier: Apache-2.0

package series

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

// timed is a data point of one series: when, in seconds of the test, and how much.
type timed struct{ start, at, value int64 }

// points are those of a metric in a snapshot, a sum's value or a histogram's count.
func points(data pmetric.Metrics, name string) []timed {
	var all []timed
	seconds := func(t pcommon.Timestamp) int64 { return (int64(t) - facttest.Epoch) / 1e9 }
	each(data, func(_ pcommon.Resource, m pmetric.Metric) {
		switch {
		case m.Name() != "tcp.server."+name:
		case m.Type() == pmetric.MetricTypeSum:
			for _, p := range m.Sum().DataPoints().All() {
				all = append(all, timed{seconds(p.StartTimestamp()), seconds(p.Timestamp()), p.IntValue()})
			}
		case m.Type() == pmetric.MetricTypeHistogram:
			for _, p := range m.Histogram().DataPoints().All() {
				all = append(all, timed{seconds(p.StartTimestamp()), seconds(p.Timestamp()), int64(p.Count())})
			}
		default:
			for _, p := range m.ExponentialHistogram().DataPoints().All() {
				all = append(all, timed{seconds(p.StartTimestamp()), seconds(p.Timestamp()), int64(p.Count())})
			}
		}
	})
	return all
}

// TestSeriesBeginAtZero: a counter or histogram has a point of 0 at the time of the snapshot
// before its first value, also when it returns after its expiry. Gauges have none.
func TestSeriesBeginAtZero(t *testing.T) {
	for _, exponential := range []bool{false, true} {
		r := newRig(Options{FromZero: true, Exponential: exponential, Expiry: 20 * time.Second})
		r.AddCount(web(), connection.Drops, "no_socket", 100)
		r.Closed(web(), facttest.Closed())
		r.AddActive(web(), 3)
		first := r.pass(10 * time.Second)
		require.Equal(t, []timed{{0, 0, 0}, {0, 10, 100}}, points(first, "drops"))
		require.Equal(t, []timed{{0, 0, 0}, {0, 10, 1}}, points(first, "rtt"))
		require.Equal(t, []timed{{0, 10, 3}}, points(first, "connection.active"))
		r.BeginActive()

		require.Equal(t, []timed{{0, 20, 100}}, points(r.pass(10*time.Second), "drops"))
		r.pass(10 * time.Second)
		require.Empty(t, points(r.pass(10*time.Second), "drops"), "expired")

		r.AddCount(web(), connection.Drops, "no_socket", 7)
		require.Equal(t, []timed{{40, 40, 0}, {40, 50, 7}}, points(r.pass(10*time.Second), "drops"))
		r.AddCount(web(), connection.Drops, "other", 1)
		require.Equal(t, []timed{{40, 60, 7}, {50, 50, 0}, {50, 60, 1}}, points(r.pass(10*time.Second), "drops"))
	}
}

// TestSeriesBeginAtZeroInTime: the point of 0 is never at the time of the next, and never older
// than backends accept.
func TestSeriesBeginAtZeroInTime(t *testing.T) {
	r := newRig(Options{FromZero: true})
	r.AddCount(web(), connection.Drops, "no_socket", 1)
	require.Equal(t, []timed{{0, 0, 1}}, points(r.pass(time.Microsecond), "drops"))
	r.AddCount(web(), connection.Drops, "other", 1)
	messages := r.Snapshot(r.after(2 * time.Hour))
	require.Equal(t, []timed{{0, 7200, 1}, {5400, 5400, 0}, {5400, 7200, 1}}, points(messages[0].Metrics, "drops"), "one start")
	for _, again := range []int64{7800, 8400, 9000} {
		r.NotBegun(messages[0].Begun)
		messages = r.Snapshot(r.after(10 * time.Minute))
		require.Equal(t, []timed{{0, again, 1}, {5400, 5400, 0}, {5400, again, 1}}, points(messages[0].Metrics, "drops"))
	}
	r.NotBegun(messages[0].Begun)
	messages = r.Snapshot(r.after(time.Hour))
	require.Equal(t, []timed{{0, 12600, 1}, {5400, 12600, 1}}, points(messages[0].Metrics, "drops"), "too old")
}

// TestSeriesWithoutZero: it can be switched off.
func TestSeriesWithoutZero(t *testing.T) {
	r := newRig(Options{})
	r.SetBeginnings([]Beginning{BeginningOf(connection.Opens, ""), {Metric: declared.MetricRTT}})
	r.Begin(web())
	r.AddCount(web(), connection.Drops, "no_socket", 1)
	data := r.pass(10 * time.Second)
	require.Len(t, points(data, "drops"), 1)
	require.Equal(t, []timed{{0, 10, 0}}, points(data, "connection.opened"), "begins at 0 in any case")
	require.Empty(t, points(data, "rtt"))
}

// TestBegin: what can be counted begins at 0 with the listener, and stays while it listens. It
// takes no more than half of the series.
func TestBegin(t *testing.T) {
	r := newRig(Options{FromZero: true, Expiry: 20 * time.Second, SeriesLimit: 4})
	beginnings := []Beginning{
		BeginningOf(connection.Opens, ""), BeginningOf(connection.ResetsSent, ""),
		{Metric: declared.MetricRTT},
		{Metric: declared.MetricIO, Direction: declared.DirectionReceive},
	}
	var data pmetric.Metrics
	for range 5 {
		r.SetBeginnings(beginnings)
		r.Begin(web())
		data = r.pass(10 * time.Second)
	}
	for _, name := range []string{"connection.opened", "resets", "rtt", "io"} {
		require.Equal(t, []timed{{0, 50, 0}}, points(data, name), name)
	}
	require.Empty(t, points(data, "retransmits"), "nobody counts them")

	r.SetBeginnings(append(beginnings, BeginningOf(connection.Retransmits, "")))
	for port := range uint16(10) {
		r.Begin(Key{Port: 1000 + port, IPv4: true})
	}
	r.Begin(web())
	data = r.pass(10 * time.Second)
	require.Len(t, points(data, "connection.opened"), 2)
	require.Len(t, points(data, "retransmits"), 2, "hooks attach later")
	require.Zero(t, r.Refused())
}

// TestSeriesBeginAgain: what began in a message that reached nobody begins in the next, at the same
// time, also if it began with a listener. A series begins only in one message.
func TestSeriesBeginAgain(t *testing.T) {
	r := newRig(Options{FromZero: true})
	r.SetBeginnings([]Beginning{BeginningOf(connection.ResetsSent, "")})
	r.Begin(web())
	r.AddCount(web(), connection.Drops, "no_socket", 100)
	r.Closed(web(), facttest.Closed())
	for n := range int64(3) {
		messages := r.Snapshot(r.after(10 * time.Second))
		require.Len(t, messages, 1)
		require.Equal(t, []timed{{0, 0, 0}, {0, 10 * (n + 1), 100}}, points(messages[0].Metrics, "drops"))
		require.Equal(t, []timed{{0, 0, 0}, {0, 10 * (n + 1), 1}}, points(messages[0].Metrics, "rtt"))
		require.Equal(t, []timed{{0, 10 * (n + 1), 0}}, points(messages[0].Metrics, "resets"))
		r.NotBegun(messages[0].Begun)
	}
	r.AddCount(web(), connection.ResetsSent, "", 5)
	messages := r.Snapshot(r.after(10 * time.Second))
	require.Equal(t, []timed{{0, 0, 0}, {0, 40, 5}}, points(messages[0].Metrics, "resets"))
	r.AddCount(web(), connection.Drops, "no_socket", 1)
	messages = r.Snapshot(r.after(10 * time.Second))
	require.Equal(t, []timed{{0, 50, 101}}, points(messages[0].Metrics, "drops"))
	require.Empty(t, messages[0].Begun)
}

// TestBothPointsInOneMessage: a refused message has both points of a series, or neither.
func TestBothPointsInOneMessage(t *testing.T) {
	r := newRig(Options{FromZero: true, SeriesLimit: 4 * maxPoints})
	r.AddCount(Key{Port: 1, IPv4: true}, connection.Opens, "", 1)
	r.Snapshot(r.after(10 * time.Second))
	for port := range uint16(maxPoints) {
		r.AddCount(Key{Port: 1000 + port, IPv4: true}, connection.Opens, "", 1)
	}
	messages := r.Snapshot(r.after(10 * time.Second))
	var begun int
	for _, message := range messages {
		begun += len(message.Begun)
		zeros := 0
		for _, p := range points(message.Metrics, "connection.opened") {
			if p.value == 0 {
				zeros++
			}
		}
		require.Equal(t, zeros, len(message.Begun))
	}
	require.Equal(t, maxPoints, begun)
}
