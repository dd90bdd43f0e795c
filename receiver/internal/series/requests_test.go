// SPDX-License-Identifier: Apache-2.0

package series

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

func webRequests() Key {
	return Key{NetNS: facttest.OwnNetNS, Port: 80, Listener: true, Workload: facttest.Process().Workload}
}

// requests updates each metric of requests.
func requests(m *Metrics) {
	viewer, s := httpview.New(httpview.Options{}), webRequests()
	view := viewer.Of(facttest.Exchange())
	view.Route = "/users/{id}"
	m.Request(s, view)
	m.Request(s, viewer.Of(&request.Exchange{Problem: request.ProblemIdle}))
	failed := facttest.Call()
	failed.Problem = request.ProblemCut
	redact, err := privacy.New(privacy.Options{})
	if err != nil {
		panic(err)
	}
	m.Request(s, httpview.New(httpview.Options{Redact: redact, Models: &httpview.Ports{80: true}}).Of(failed))
	m.Request(s, httpview.New(httpview.Options{Redact: redact}).Of(facttest.RPC()))
	m.AddActiveRequest(s, viewer.Glance(facttest.Exchange()))
}

// durations returns the counts of http.server.request.duration by attributes.
func durations(data pmetric.Metrics) map[string]uint64 {
	all := map[string]uint64{}
	each(data, func(_ pcommon.Resource, m pmetric.Metric) {
		if m.Name() != "http.server.request.duration" {
			return
		}
		for _, p := range m.Histogram().DataPoints().All() {
			all[fmt.Sprint(p.Attributes().AsRaw())] += p.Count()
		}
	})
	return all
}

func TestRequests(t *testing.T) {
	r := newRig(Options{})
	viewer, s := httpview.New(httpview.Options{}), webRequests()
	e := facttest.Exchange()
	r.Request(s, viewer.Of(e))
	r.Request(s, viewer.Of(e))
	routed := viewer.Of(e)
	routed.Route = "/users/{id}"
	r.Request(s, routed)
	e.Status = 200
	r.Request(s, viewer.Of(e))
	e.Switched = true
	r.Request(s, viewer.Of(e))
	r.Request(s, viewer.Of(&request.Exchange{Problem: request.ProblemClientReset}))
	r.Request(s, viewer.Of(&request.Exchange{Problem: request.ProblemMissed}))
	data := r.pass(time.Second)
	const common = "http.request.method:GET http.response.status_code:%s network.protocol.name:http " +
		"network.protocol.version:1.1 process.executable.name:nginx server.port:80 url.scheme:http]"
	assert.Equal(t, map[string]uint64{
		fmt.Sprintf("map[error.type:503 "+common, "503"): 2,
		fmt.Sprintf("map["+common, "200"):                1,
		fmt.Sprintf("map[error.type:503 "+strings.Replace(common, "network", "http.route:/users/{id} network", 1), "503"): 1,
	}, durations(data))
	assert.Equal(t, map[string]int64{
		"map[error.type:client_reset process.executable.name:nginx server.port:80]": 1,
	}, values(data, "tcp.server.http.unanswered"))
}

// TestRequestsOverTheLimit: what has no room is counted in the overflow series, and memory does
// not grow with what clients choose.
func TestRequestsOverTheLimit(t *testing.T) {
	const limit = 10
	r := newRig(Options{SeriesLimit: limit, Expiry: time.Minute})
	viewer, s, e := httpview.New(httpview.Options{}), webRequests(), facttest.Exchange()
	fill := func() {
		for i := range 1000 {
			view := viewer.Of(e)
			view.Method = fmt.Sprint("METHOD", i)
			r.Request(s, view)
		}
	}
	fill()
	got := durations(r.pass(time.Second))
	require.Len(t, got, limit+1)
	assert.EqualValues(t, 1000-limit, got["map[otel.metric.overflow:true]"])
	assert.LessOrEqual(t, len(r.store.tuples.known), families*limit)
	assert.EqualValues(t, 1000-limit, r.Refused())

	// Series that have expired make room.
	r.pass(2 * time.Minute)
	assert.Empty(t, r.store.tuples.known)
	fill()
	assert.Len(t, durations(r.pass(time.Second)), limit+1)
}

func TestRequestsAllocateNothing(t *testing.T) {
	r := newRig(Options{})
	viewer, s, e := httpview.New(httpview.Options{}), webRequests(), facttest.Exchange()
	other := facttest.Exchange()
	other.Status = 200
	unanswered := &request.Exchange{Problem: request.ProblemIdle}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		r.Request(s, viewer.Of(e))
		r.Request(s, viewer.Of(other))
		r.Request(s, viewer.Of(unanswered))
	}))
}

// BenchmarkRequests measures the metrics of a request that is one of many series.
func BenchmarkRequests(b *testing.B) {
	m := New(metadata.NewDefaultMetricsBuilderConfig(), Options{SeriesLimit: 2000})
	viewer, s, e := httpview.New(httpview.Options{}), webRequests(), facttest.Exchange()
	methods := make([]string, 100)
	for i := range methods {
		methods[i] = fmt.Sprint("METHOD", i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		view := viewer.Of(e)
		view.Method = methods[i%len(methods)]
		m.Request(s, view)
		i++
	}
}

// TestActiveRequests: a series is the number at the time of the snapshot, and is 0 after the
// last request of its kind.
func TestActiveRequests(t *testing.T) {
	const get, post = "map[http.request.method:GET process.executable.name:nginx server.port:80 url.scheme:http]",
		"map[http.request.method:POST process.executable.name:nginx server.port:80 url.scheme:http]"
	const metric = "http.server.active_requests"
	r := newRig(Options{}, withActiveRequests)
	viewer, s, e := httpview.New(httpview.Options{}), webRequests(), facttest.Exchange()
	assert.Empty(t, values(r.pass(time.Second), metric), "absent, not 0, before any request is known")
	r.Request(s, viewer.Of(e))
	r.BeginActiveRequests()
	assert.Equal(t, map[string]int64{get: 0}, values(r.pass(time.Second), metric))
	r.BeginActiveRequests()
	for range 3 {
		r.AddActiveRequest(s, viewer.Glance(e))
	}
	e.Method = []byte("POST")
	r.AddActiveRequest(s, viewer.Glance(e))
	assert.Equal(t, map[string]int64{get: 3, post: 1}, values(r.pass(time.Second), metric))
	r.BeginActiveRequests()
	r.AddActiveRequest(s, viewer.Glance(e))
	assert.Equal(t, map[string]int64{get: 0, post: 1}, values(r.pass(time.Second), metric))

	off := newRig(Options{})
	off.Request(s, viewer.Of(e))
	off.BeginActiveRequests()
	off.AddActiveRequest(s, viewer.Glance(e))
	assert.Empty(t, values(off.pass(time.Second), metric), "it is off by default")
}

func withActiveRequests(c *metadata.MetricsBuilderConfig) {
	c.Metrics.HTTPServerActiveRequests.Enabled = true
}
