// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/payload"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// bodyOptions select JSON and text of up to 100 bytes.
func bodyOptions(t testing.TB, form payload.Form) *httpview.Bodies {
	t.Helper()
	types, err := payload.NewSelection([]string{"application/json", "text/*"})
	require.NoError(t, err)
	return &httpview.Bodies{
		Ports: &httpview.Ports{80: true}, Request: 100, Answer: 100, Types: types, Form: form,
		MaxDecoded: 1 << 10, MaxRatio: 10,
	}
}

// withBodies has the same body in both directions.
func withBodies(contentType, body string) *request.Exchange {
	e := withField(facttest.Exchange(), "Content-Type", contentType)
	e.Status = 200
	e.Answer.SetFields(request.Field{Name: []byte("Content-Type"), Value: []byte(contentType)})
	for _, m := range []*request.Message{&e.Request, &e.Answer} {
		m.Body, m.BodyBytes = []byte(body), int64(len(body))
	}
	return e
}

func appendWithBodies(t testing.TB, l *Logs, form payload.Form, e *request.Exchange) {
	t.Helper()
	viewer := viewerOf(t, bodyOptions(t, form))
	view := viewer.Of(e)
	viewer.Complete(view)
	require.True(t, l.Request(view, facttest.Process(), owner.ByListener))
}

// appendBodies appends records that have, together, every attribute of bodies.
func appendBodies(t testing.TB, l *Logs) {
	t.Helper()
	for form := payload.Raw; form < payload.Forms; form++ {
		appendWithBodies(t, l, form, withBodies("application/json", `{"a":"\u0000"}`))
		appendWithBodies(t, l, form, withBodies("application/json", `{"a":"`+strings.Repeat("b", 200)+`"}`))
	}
	encoded := withBodies("text/plain", "x")
	for _, m := range []*request.Message{&encoded.Request, &encoded.Answer} {
		m.SetFields(append(m.Fields(), request.Field{Name: []byte("Content-Encoding"), Value: []byte("br")})...)
	}
	appendWithBodies(t, l, payload.Raw, encoded)
}

func bodyRecord(t *testing.T, form payload.Form, e *request.Exchange) plog.LogRecord {
	t.Helper()
	l := testLogs(allEvents())
	appendWithBodies(t, l, form, e)
	return single(t, l.Take())
}

func TestBodyForms(t *testing.T) {
	const body = `{"n": 12345678901234567890, "m": 7, "s": "a<b", "l": [1.5, null, true, {}]}`
	for form, want := range map[payload.Form]any{
		payload.Raw: body,
		payload.Hex: fmt.Sprintf("%x", body),
		payload.XML: `<json type="object"><n type="number">12345678901234567890</n><m type="number">7</m><s>a&lt;b</s>` +
			`<l type="array"><item type="number">1.5</item><item type="null"/><item type="boolean">true</item><item type="object"></item></l></json>`,
		payload.Structured: map[string]any{
			"n": "12345678901234567890", "m": int64(7), "s": "a<b", "l": []any{1.5, nil, true, map[string]any{}},
		},
	} {
		record := bodyRecord(t, form, withBodies("application/json; charset=utf-8", body))
		got := record.Attributes().AsRaw()
		assert.Equal(t, want, got["tcp.http.request.body."+form.String()], form)
		assert.Equal(t, want, got["tcp.http.response.body."+form.String()], form)
		assert.NotContains(t, got, "error.type", form)
		assert.Equal(t, plog.SeverityNumberInfo, record.SeverityNumber())
	}
	list := bodyRecord(t, payload.Structured, withBodies("application/json", `[[1],"x"]`)).Attributes().AsRaw()
	assert.Equal(t, []any{[]any{int64(1)}, "x"}, list["tcp.http.request.body.structured"])
}

// TestBodiesInAnotherForm: what can't have its form is raw, and the record says why.
func TestBodiesInAnotherForm(t *testing.T) {
	for _, test := range []struct{ contentType, body, problem, why string }{
		{"application/json", `{"a":`, "json_truncated", "ends early"},
		{"application/json", `{"a":1]`, "json_invalid", "invalid"},
		{"application/json", strings.Repeat("[", 70) + "1", "json_too_deep", "deep"},
		{"text/plain", "text\twith tab", "", "no JSON"},
	} {
		for _, form := range []payload.Form{payload.XML, payload.Structured} {
			record := bodyRecord(t, form, withBodies(test.contentType, test.body))
			got := record.Attributes().AsRaw()
			assert.Equal(t, test.body, got["tcp.http.request.body.raw"], test.why)
			if test.problem == "" {
				assert.NotContains(t, got, "error.type", test.why)
				continue
			}
			assert.Equal(t, test.problem, got["tcp.http.request.body.error.type"], test.why)
			assert.Equal(t, test.problem, got["tcp.http.response.body.error.type"], test.why)
			assert.Equal(t, test.problem, got["error.type"], test.why)
			assert.Equal(t, plog.SeverityNumberInfo, record.SeverityNumber(), "the request did not fail")
		}
	}
	failed := withBodies("application/json", `{`)
	failed.Status = 503
	assert.Equal(t, "503", bodyRecord(t, payload.XML, failed).Attributes().AsRaw()["error.type"])

	binary := bodyRecord(t, payload.Raw, withBodies("text/plain", "a\x00\xff")).Attributes().AsRaw()
	assert.Equal(t, []byte("a\x00\xff"), binary["tcp.http.request.body.raw"])
	cut := bodyRecord(t, payload.Raw, withBodies("text/plain", strings.Repeat("é", 100))).Attributes().AsRaw()
	assert.Equal(t, strings.Repeat("é", 50), cut["tcp.http.request.body.raw"])
	assert.Equal(t, true, cut["tcp.http.request.body.cut"])
	other := bodyRecord(t, payload.Raw, withBodies("image/png", "x")).Attributes().AsRaw()
	assert.NotContains(t, other, "tcp.http.request.body.raw")
}

// TestBodyBytes: the estimate of memory is not less than what a marshalled record has.
func TestBodyBytes(t *testing.T) {
	body := `{"` + strings.Repeat("k", 20) + `":[` + strings.Repeat(`"x",`, 15) + `1]}`
	for form := payload.Raw; form < payload.Forms; form++ {
		l := testLogs(allEvents())
		appendWithBodies(t, l, form, withBodies("application/json", body))
		batch := l.Take()
		size := (&plog.ProtoMarshaler{}).LogsSize(batch.Logs)
		assert.GreaterOrEqual(t, batch.Bytes, size, form)
	}
}

// TestLargestRecord: a record with the largest bodies that the configuration permits is far
// below the 4 MiB of a batch, whatever their content is.
func TestLargestRecord(t *testing.T) {
	const bound, decoded, most = 64 << 10, 256 << 10, 3 << 19
	var compressed bytes.Buffer
	compress := func(text string) []byte {
		compressed.Reset()
		w := gzip.NewWriter(&compressed)
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.LessOrEqual(t, compressed.Len(), bound)
		return bytes.Clone(compressed.Bytes())
	}
	redact, err := privacy.New(privacy.Options{Patterns: []string{`\d`}})
	require.NoError(t, err)
	types, err := payload.NewSelection([]string{"*/*"})
	require.NoError(t, err)
	for _, text := range []string{
		strings.Repeat("1a", decoded/2), strings.Repeat("\x00", decoded), "[" + strings.Repeat("{},", 4000) + "{}]",
		"[" + strings.Repeat(`"`+strings.Repeat("<", 60)+`",`, 4000) + "1]", "[" + strings.Repeat("[],", 17_000) + "1]",
	} {
		for form := payload.Raw; form < payload.Forms; form++ {
			e := withField(withBodies("application/json", ""), "Content-Encoding", "gzip")
			e.Answer.SetFields(e.Request.Fields()...)
			e.Request.Body, e.Answer.Body = compress(text), compress(text)
			viewer := httpview.New(httpview.Options{Redact: redact, Bodies: &httpview.Bodies{
				Ports: &httpview.Ports{80: true}, Request: bound, Answer: bound, Types: types, Form: form,
				MaxDecoded: decoded, MaxRatio: 10000,
			}})
			view := viewer.Of(e)
			viewer.Complete(view)
			l := testLogs(allEvents())
			require.True(t, l.Request(view, facttest.Process(), owner.ByListener))
			batch := l.Take()
			size := (&plog.ProtoMarshaler{}).LogsSize(batch.Logs)
			assert.Less(t, size, most, "%s of %.9q", form, text)
			assert.GreaterOrEqual(t, batch.Bytes, size, "%s of %.9q", form, text)
		}
	}
}

func TestBuilderKeepsOrder(t *testing.T) {
	var transformer payload.Transformer
	transformer.Limits = payload.DefaultLimits()
	value := pcommon.NewValueEmpty()
	const text = `{"z":{"b":1,"a":[{"y":1,"x":2}]},"a":"é"}`
	_, problem := transformer.Structured([]byte(text), false, &builder{logs: testLogs(allEvents()), value: value})
	require.Equal(t, payload.ProblemNone, problem)
	var names []string
	for name := range value.Map().All() {
		names = append(names, name)
	}
	assert.Equal(t, []string{"z", "a"}, names)
	var want any
	require.NoError(t, json.Unmarshal([]byte(text), &want))
	assert.JSONEq(t, text, value.AsString())
}
