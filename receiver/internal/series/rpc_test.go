// SPDX-License-Identifier: Apache-2.0

package series

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/rpcconv"

	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/rpc"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

func TestRPCs(t *testing.T) {
	redact, err := privacy.New(privacy.Options{})
	require.NoError(t, err)
	r, viewer, s := newRig(Options{}), httpview.New(httpview.Options{Redact: redact}), webRequests()
	succeeded := facttest.RPC()
	succeeded.Answer.Trailers[0].Value = []byte("0")
	unanswered := facttest.RPC()
	unanswered.Problem, unanswered.Answer = request.ProblemIdle, request.Message{}
	for _, e := range []*request.Exchange{succeeded, succeeded, facttest.RPC(), unanswered, facttest.Exchange()} {
		r.Request(s, viewer.Of(e))
	}
	got := map[string]uint64{}
	data := r.pass(time.Second)
	each(data, func(_ pcommon.Resource, m pmetric.Metric) {
		if m.Name() == rpc.MetricServerCallDuration {
			for _, p := range m.Histogram().DataPoints().All() {
				got[fmt.Sprint(p.Attributes().AsRaw())] = p.Count()
			}
		}
	})
	const common = "process.executable.name:nginx rpc.method:shop.v1.Cart/Add rpc.response.status_code:%s rpc.system.name:grpc server.port:80]"
	assert.Equal(t, map[string]uint64{
		fmt.Sprintf("map["+common, "OK"): 2, fmt.Sprintf("map[error.type:UNAVAILABLE "+common, "UNAVAILABLE"): 1,
	}, got)
	http := uint64(0)
	for attributes, n := range durations(data) {
		if attributes != "" {
			http += n
		}
	}
	assert.EqualValues(t, 4, http, "calls are requests, too")
	assert.Equal(t, rpcconv.ServerCallDuration{}.Name(), declared.MetricRPCServerCallDuration.String())
	assert.Equal(t, rpcconv.ServerCallDuration{}.Unit(), declared.MetricRPCServerCallDuration.Definition().Unit)
}

func TestRPCsAllocateNothing(t *testing.T) {
	redact, err := privacy.New(privacy.Options{})
	require.NoError(t, err)
	r, viewer, s := newRig(Options{}), httpview.New(httpview.Options{Redact: redact}), webRequests()
	e := facttest.RPC()
	e.Answer.Trailers[0].Value = []byte("0")
	r.Request(s, viewer.Of(e))
	assert.Zero(t, testing.AllocsPerRun(100, func() { r.Request(s, viewer.Of(e)) }))
}
