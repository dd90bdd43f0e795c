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
	"go.opentelemetry.io/otel/semconv/v1.41.0/genaiconv"

	"github.com/ebpftcp/ebpftcpreceiver/internal/genai"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

func modelViewer(t testing.TB) *httpview.Viewer {
	t.Helper()
	redact, err := privacy.New(privacy.Options{})
	require.NoError(t, err)
	return httpview.New(httpview.Options{Redact: redact, Models: &httpview.Ports{80: true}})
}

func TestCalls(t *testing.T) {
	r, viewer, s := newRig(Options{}), modelViewer(t), webRequests()
	r.Request(s, viewer.Of(facttest.Call()))
	failed := facttest.Call()
	failed.Status, failed.Answer.Body, failed.Answer.Tail = 503, nil, nil
	r.Request(s, viewer.Of(failed))
	got := map[string]string{}
	each(r.pass(time.Second), func(_ pcommon.Resource, m pmetric.Metric) {
		if m.Type() != pmetric.MetricTypeHistogram {
			return
		}
		for _, p := range m.Histogram().DataPoints().All() {
			got[m.Name()+fmt.Sprint(p.Attributes().AsRaw())] = fmt.Sprintf("%d %g", p.Count(), p.Sum())
		}
	})
	const (
		operation = "gen_ai.operation.name:chat gen_ai.provider.name:openai gen_ai.request.model:m-1"
		answered  = operation + " gen_ai.response.model:m-1-2026"
		server    = " process.executable.name:nginx server.port:80]"
	)
	for name, want := range map[string]string{
		genai.MetricServerRequestDuration + "map[" + answered + server:                          "1 0.012",
		genai.MetricServerRequestDuration + "map[error.type:503 " + operation + server:          "1 0.012",
		genai.MetricServerTimeToFirstToken + "map[" + answered + server:                         "1 0.005",
		genai.MetricClientTokenUsage + "map[" + answered + " gen_ai.token.type:input" + server:  "1 12",
		genai.MetricClientTokenUsage + "map[" + answered + " gen_ai.token.type:output" + server: "1 34",
	} {
		assert.Equal(t, want, got[name], name)
		delete(got, name)
	}
	assert.Empty(t, got)
}

// TestCallsAreAsInTheConventions holds names and units to them. The declaration has the names a
// second time, for the configuration.
func TestCallsAreAsInTheConventions(t *testing.T) {
	for metric, want := range map[declared.Metric]interface{ Name() string }{
		declared.MetricGenAIServerRequestDuration:  genaiconv.ServerRequestDuration{},
		declared.MetricGenAIServerTimeToFirstToken: genaiconv.ServerTimeToFirstToken{},
		declared.MetricGenAIClientTokenUsage:       genaiconv.ClientTokenUsage{},
	} {
		require.Equal(t, want.Name(), metric.String())
	}
	require.Equal(t, genaiconv.ClientTokenUsage{}.Unit(), declared.MetricGenAIClientTokenUsage.Definition().Unit)
	require.Contains(t, declared.MetricGenAIClientTokenUsage.Definition().Description, "Observed at the server")
}

func TestCallsAllocateNothing(t *testing.T) {
	r, viewer, s := newRig(Options{}), modelViewer(t), webRequests()
	e := facttest.Call()
	r.Request(s, viewer.Of(e))
	assert.Zero(t, testing.AllocsPerRun(100, func() { r.Request(s, viewer.Of(e)) }))
}
