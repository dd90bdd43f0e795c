// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/forwarded"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/route"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

func testViewer(t testing.TB) *httpview.Viewer { return viewerOf(t, nil) }

func viewerOf(t testing.TB, bodies *httpview.Bodies) *httpview.Viewer {
	t.Helper()
	options := httpview.Options{Bodies: bodies}
	var err error
	options.Redact, err = privacy.New(privacy.Options{})
	require.NoError(t, err)
	options.RequestHeaders, err = privacy.NewHeaders("http.request.header", []string{"x-request-id", "authorization"})
	require.NoError(t, err)
	options.AnswerHeaders, err = privacy.NewHeaders("http.response.header", []string{"server"})
	require.NoError(t, err)
	options.Trust, err = forwarded.NewTrust([]string{"10.0.0.2"})
	require.NoError(t, err)
	options.Gateways = httpview.Gateways{Kong: new(httpview.Ports), Upstream: 8}
	options.Gateways.Kong[kongPort] = true
	options.Routes.Patterns = new(route.Table)
	require.NoError(t, options.Routes.Patterns.Add("/users/{id}"))
	return httpview.New(options)
}

func withField(e *request.Exchange, name, value string) *request.Exchange {
	e.Request.SetFields(append(e.Request.Fields(), request.Field{Name: []byte(name), Value: []byte(value)})...)
	return e
}

func appendRequestRecord(t testing.TB, l *Logs, e *request.Exchange) {
	viewer := testViewer(t)
	if e.Server.Port() == kongPort {
		viewer.Tie(viewer.Of(upstreamExchange()))
	}
	view := viewer.Of(e)
	viewer.Route(view, "nginx")
	viewer.Tie(view)
	viewer.Complete(view)
	require.True(t, l.Request(view, facttest.Process(), owner.ByListener))
}

func requestRecord(t *testing.T, e *request.Exchange) plog.LogRecord {
	t.Helper()
	l := testLogs(allEvents())
	appendRequestRecord(t, l, e)
	return single(t, l.Take())
}

// exchanges have, together, every attribute of the event.
func exchanges() []*request.Exchange {
	unknown, unanswered := facttest.Exchange(), facttest.Exchange()
	unknown.Method, unknown.Switched = []byte("PURGE"), true
	unanswered.Problem, unanswered.Status = request.ProblemClientClosed, 0
	return []*request.Exchange{facttest.Exchange(), unknown, unanswered, kongExchange(), facttest.RPC()}
}

func TestRequestRecord(t *testing.T) {
	e := withField(facttest.Exchange(), "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	e = withField(e, "X-Forwarded-For", "192.0.2.7")
	record := requestRecord(t, e)
	got := record.Attributes().AsRaw()
	for key, want := range map[string]any{
		"client.address": "192.0.2.7", "network.peer.address": "10.0.0.2", "network.peer.port": int64(51234),
		"network.local.address": "10.0.0.1", "network.local.port": int64(80),
		"server.address": "example.org", "server.port": int64(8080),
		"http.route": "/users/{id}", "url.path": "/users/42", "url.query": "page=REDACTED&token=REDACTED", "url.scheme": "http",
		"http.request.method": "GET", "http.response.status_code": int64(503), "error.type": "503",
		"tcp.http.duration": 0.012, "tcp.http.request.duration": 0.001,
		"tcp.http.server.duration": 0.002, "tcp.http.response.duration": 0.009,
		"http.request.header.x-request-id":  []any{"r1"},
		"http.request.header.authorization": []any{"REDACTED"},
		"http.response.header.server":       []any{"nginx"},
		"tcp.redacted":                      []any{"query.page", "query.token", "header.authorization"},
	} {
		require.Equal(t, want, got[key], key)
	}
	require.NotContains(t, got, "client.port", "the proxy does not say it")
	require.Equal(t, "tcp.server.http.request 10.0.0.2:51234 -> 10.0.0.1:80 nginx[123] GET /users/42 503 12ms", record.Body().Str())
	require.Equal(t, plog.SeverityNumberWarn, record.SeverityNumber())
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c", record.TraceID().String())
	require.Equal(t, "b7ad6b7169203331", record.SpanID().String())
	require.EqualValues(t, 1, record.Flags())
}

func TestUnansweredRequestRecord(t *testing.T) {
	got := requestRecord(t, exchanges()[2]).Attributes().AsRaw()
	require.Equal(t, "client_closed", got["error.type"])
	require.InDelta(t, 0.012, got["tcp.http.wait.duration"], 1e-9)
	require.NotContains(t, got, "http.response.status_code")
	require.NotContains(t, got, "tcp.http.duration")
}

// TestRequestSecrets: no secret is in the marshalled batch, neither in attributes nor in the body.
func TestRequestSecrets(t *testing.T) {
	e := withField(facttest.Exchange(), "Cookie", "id=secret")
	e.Target = []byte("http://user:secret@example.org/?sig=secret&secret")
	l := testLogs(allEvents())
	appendRequestRecord(t, l, e)
	raw, err := (&plog.ProtoMarshaler{}).MarshalLogs(l.Take().Logs)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "secret")
	require.Contains(t, string(raw), "REDACTED")
}
