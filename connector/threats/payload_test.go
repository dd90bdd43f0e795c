// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// requestOf is the record of a request.
func requestOf(client, path string) plog.Logs {
	logs := plog.NewLogs()
	r := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	r.SetEventName("tcp.server.http.request")
	r.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	for key, value := range map[string]string{
		"client.address": client, "network.peer.address": client, "network.local.address": "192.0.2.1", "url.path": path,
	} {
		r.Attributes().PutStr(key, value)
	}
	r.Attributes().PutInt("network.local.port", 80)
	return logs
}

// payloads is an engine that calls paths with "attack" one.
type payloads struct{}

func (payloads) Judge(r *PayloadRequest) (PayloadVerdict, error) {
	if strings.Contains(r.Path, "attack") {
		return PayloadVerdict{Rules: []string{"942100"}, Score: 5}, nil
	}
	return PayloadVerdict{}, nil
}

func (payloads) Close() error { return nil }

func TestPayloadSignatures(t *testing.T) {
	b := newBench(t)
	var got PayloadSettings
	b.factory = NewFactory(WithPayloadEngine(func(s PayloadSettings) (PayloadEngine, error) {
		got = s
		return payloads{}, nil
	}))
	b.cfg.Rules.PayloadSignature.Enabled = true
	b.start()
	for _, path := range []string{"/", "/attack", "/attack/2"} {
		b.consume(requestOf("198.51.100.7", path))
	}
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		assert.Equal(t, []string{"payload_signature begin 1"}, b.states())
		counted, err := b.telemetry.GetMetric("otelcol_ebpf_tcp_threats_payloads")
		if assert.NoError(t, err) {
			assert.Equal(t, int64(3), sumWith(t, counted, "outcome", "judged"))
		}
	}, 10*time.Second, 20*time.Millisecond)
	b.stop()
	assert.Equal(t, PayloadSettings{Paranoia: 1, MaxBytes: 8192}, got)
	signatures, ok := b.logs.AllLogs()[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().Get("tcp.threat.signatures")
	require.True(t, ok)
	assert.Equal(t, []any{"942100"}, signatures.Slice().AsRaw())
}

func TestPayloadSignaturesNeedAnEngine(t *testing.T) {
	b := newBench(t)
	b.cfg.Rules.PayloadSignature.Enabled = true
	logs, err := b.factory.CreateLogsToLogs(t.Context(), b.settings(), b.cfg, &b.logs)
	require.NoError(t, err)
	require.ErrorIs(t, logs.Start(t.Context(), b.host), errNoPayloadEngine)
	require.NoError(t, logs.Shutdown(t.Context()))
}

// TestRecordsOfAStop: a consumer holds up the end. What comes meanwhile is counted and not judged.
func TestRecordsOfAStop(t *testing.T) {
	b := newBench(t)
	entered, release := make(chan struct{}), make(chan struct{})
	next := consumerFunc(func(ctx context.Context, logs plog.Logs) error {
		close(entered)
		<-release
		return b.logs.ConsumeLogs(ctx, logs)
	})
	logs, err := b.factory.CreateLogsToLogs(t.Context(), b.settings(), b.cfg, next)
	require.NoError(t, err)
	require.NoError(t, logs.Start(t.Context(), b.host))
	require.NoError(t, logs.ConsumeLogs(t.Context(), scanOf("198.51.100.7", 1, 9)))
	<-entered
	ended := make(chan error)
	go func() { ended <- logs.Shutdown(context.Background()) }()
	require.Eventually(t, func() bool {
		assert.NoError(t, logs.ConsumeLogs(t.Context(), scanOf("198.51.100.8", 1, 1)))
		return b.counted("stopping") > 0
	}, 10*time.Second, 20*time.Millisecond)
	close(release)
	require.NoError(t, <-ended)
	assert.Equal(t, []string{"port_scan begin 9"}, b.states())
}
