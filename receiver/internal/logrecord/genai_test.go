// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/genai"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// appendCall appends the record of a call to a language model.
func appendCall(t testing.TB, l *Logs) {
	t.Helper()
	redact, err := privacy.New(privacy.Options{})
	require.NoError(t, err)
	viewer := httpview.New(httpview.Options{Redact: redact, Models: &httpview.Ports{80: true}})
	view := viewer.Of(facttest.Call())
	viewer.Complete(view)
	require.True(t, l.Request(view, facttest.Process(), owner.ByListener))
}

func TestCallRecord(t *testing.T) {
	l := testLogs(allEvents())
	appendCall(t, l)
	batch := l.Take()
	got := single(t, batch).Attributes().AsRaw()
	for name, want := range map[string]any{
		genai.AttrOperationName: "chat", genai.AttrProviderName: "openai",
		genai.AttrRequestModel: "m-1", genai.AttrRequestStream: true,
		genai.AttrResponseModel: "m-1-2026", genai.AttrResponseID: "c-1",
		genai.AttrResponseFinishReasons:      []any{"stop"},
		genai.AttrResponseTimeToFirstChunk:   0.005,
		genai.AttrUsageInputTokens:           int64(12),
		genai.AttrUsageOutputTokens:          int64(34),
		genai.AttrUsageCacheReadTokens:       int64(5),
		genai.AttrUsageCacheCreationTokens:   int64(7),
		genai.AttrUsageReasoningTokens:       int64(6),
		"tcp.http.duration":                  0.012,
		declared.AttrHTTPRequestMethod.Key(): "POST",
	} {
		assert.Equal(t, want, got[name], name)
	}
	raw, err := (&plog.ProtoMarshaler{}).MarshalLogs(batch.Logs)
	require.NoError(t, err)
	assert.NotContains(t, string(raw), "secret", "neither prompt nor answer")
}
