// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// span is what the instrumented client says of a request.
type span struct{ Path, Trace, Span string }

// traced are paths, and the header fields beside traceparent. Go's client writes fields in the
// order of their names.
func traced() map[string]http.Header {
	long := http.Header{}
	for i := range 6 {
		long.Set("A-"+strconv.Itoa(i), strings.Repeat("x", 1000))
	}
	return map[string]http.Header{
		"/first":  {"Z-Last": {"x"}},
		"/last":   {"A-First": {"x"}},
		"/beyond": long,
	}
}

// playTraced makes a request in a span for each place of the header field, and tells the spans.
func playTraced(url string) error {
	provider := sdk.NewTracerProvider(sdk.WithSampler(sdk.AlwaysSample()))
	for path, header := range traced() {
		ctx, running := provider.Tracer("e2e").Start(context.Background(), path, trace.WithSpanKind(trace.SpanKindClient))
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
		if err != nil {
			return err
		}
		r.Header = header
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(r.Header))
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		if err := answer.Body.Close(); err != nil {
			return err
		}
		running.End()
		of := running.SpanContext()
		if err := json.NewEncoder(os.Stdout).Encode(span{path, of.TraceID().String(), of.SpanID().String()}); err != nil {
			return err
		}
	}
	return provider.Shutdown(context.Background())
}

// TestTraces: the record of a request belongs to the span of an instrumented client, wherever in
// the head the client says so.
func TestTraces(t *testing.T) {
	const port = 28360
	n := newNetwork(t)
	n.server.startNginx(t, nginxPorts{port, port + 1, port + 2, port + 3, port + 4, port + 5})
	out := startSink(t, n.server)
	agent := startAgent(t, out.endpoint, inspecting(n, port+4, ""))
	client := n.client.act(t, "traced", "http://"+n.At(port+4).String())
	spans, told := map[string]span{}, json.NewDecoder(client.Printed)
	for range traced() {
		var s span
		require.NoError(t, told.Decode(&s))
		spans[s.Path] = s
	}
	require.Len(t, spans, 3)
	agent.balance(func(b lab.Ledger) bool { return b["request"].Produced >= 3 })
	agent.stop()
	out.stop()
	for path, s := range spans {
		records := out.records(t, requestsFor(path))
		require.Len(t, records, 1, path)
		assert.Equal(t, s.Trace, records[0].trace, path)
		assert.Equal(t, s.Span, records[0].span, path)
		assert.NotContains(t, records[0].values, "tcp.http.request.cut")
	}
}
