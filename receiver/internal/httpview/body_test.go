// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/payload"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

func bodyViewer(t testing.TB, form payload.Form, patterns ...string) *Viewer {
	t.Helper()
	redact, err := privacy.New(privacy.Options{Patterns: patterns})
	require.NoError(t, err)
	types, err := payload.NewSelection([]string{"application/json", "text/*"})
	require.NoError(t, err)
	return New(Options{Redact: redact, Bodies: &Bodies{
		Ports: &Ports{80: true}, Request: 64, Types: types, Form: form, MaxDecoded: 1 << 10, MaxRatio: 4,
	}})
}

// posted is a request with a body. Fields are names and values in turn.
func posted(body string, fields ...string) *request.Exchange {
	e := facttest.Exchange()
	for i := 0; i+1 < len(fields); i += 2 {
		e.Request.SetFields(append(e.Request.Fields(), request.Field{Name: []byte(fields[i]), Value: []byte(fields[i+1])})...)
	}
	e.Request.Body, e.Request.BodyBytes = []byte(body), int64(len(body))
	e.Answer.Body = []byte("answer")
	return e
}

func complete(v *Viewer, e *request.Exchange) *View {
	view := v.Of(e)
	v.Complete(view)
	return view
}

func TestBodyIsSelected(t *testing.T) {
	v := bodyViewer(t, payload.Raw)
	view := complete(v, posted("text", "Content-Type", "text/plain"))
	assert.Equal(t, "text", string(view.RequestBody.Content))
	assert.Nil(t, view.AnswerBody, "no byte of answers is asked for")
	assert.Nil(t, complete(v, posted("text", "Content-Type", "image/png")).RequestBody)
	assert.Nil(t, complete(v, posted("text")).RequestBody, "no type")
	assert.Nil(t, complete(v, posted("", "Content-Type", "text/plain")).RequestBody)
	other := posted("text", "Content-Type", "text/plain")
	other.Server = facttest.Flow6().Server
	assert.Nil(t, complete(v, other).RequestBody, "another port")
}

// TestBodyIsCut: what crossed for another reason is not exported beyond the bound.
func TestBodyIsCut(t *testing.T) {
	body := complete(bodyViewer(t, payload.Raw), posted(strings.Repeat("x", 100), "Content-Type", "text/plain")).RequestBody
	assert.Len(t, body.Content, 64)
	assert.True(t, body.Cut)
	lost := posted("text", "Content-Type", "text/plain")
	lost.Request.BodyBytes = 5
	assert.True(t, complete(bodyViewer(t, payload.Raw), lost).RequestBody.Cut, "bytes are missing")
}

func TestBodyIsDecoded(t *testing.T) {
	compress := func(text string) string {
		var to bytes.Buffer
		w := gzip.NewWriter(&to)
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return to.String()
	}
	const secret = `{"a":"secret"}`
	v := bodyViewer(t, payload.Structured, "secret")
	view := complete(v, posted(compress(secret), "Content-Type", "application/json", "Content-Encoding", "gzip"))
	assert.Equal(t, payload.Structured, view.RequestBody.Form)
	assert.Equal(t, `{"a":"REDACTED"}`, string(view.RequestBody.Content))
	assert.Contains(t, view.Redacted, "body.request")

	bomb := complete(v, posted(compress(strings.Repeat("x", 100_000)), "Content-Type", "text/plain", "Content-Encoding", "gzip")).RequestBody
	assert.Equal(t, payload.ProblemEncoding, complete(v, posted("no gzip", "Content-Type", "text/plain", "Content-Encoding", "gzip")).RequestBody.Problem)
	assert.LessOrEqual(t, len(bomb.Content), 4<<10)
	assert.True(t, bomb.Cut)
}

// TestBodyIsWithheld: what the patterns can't read is hidden.
func TestBodyIsWithheld(t *testing.T) {
	e := posted("brotli?", "Content-Type", "text/plain", "Content-Encoding", "br")
	view := complete(bodyViewer(t, payload.Raw, "secret"), e)
	assert.Equal(t, privacy.Redacted, string(view.RequestBody.Content))
	assert.Equal(t, "br", view.RequestBody.Encoding)
	assert.Contains(t, view.Redacted, "body.request")
	named := posted("text", "Content-Type", "text/plain", "Content-Encoding", "x-secret")
	assert.Equal(t, "x-REDACTED", complete(bodyViewer(t, payload.Raw, "secret"), named).RequestBody.Encoding)
	view = complete(bodyViewer(t, payload.Raw), e)
	assert.Equal(t, "brotli?", string(view.RequestBody.Content), "nothing has to be hidden")
	assert.NotContains(t, view.Redacted, "body.request")
}

// TestBodiesOffCostNothing: without bodies and models, a view takes no memory.
func TestBodiesOffCostNothing(t *testing.T) {
	redact, err := privacy.New(privacy.Options{})
	require.NoError(t, err)
	v := New(Options{Redact: redact})
	e := posted(`{"a":1}`, "Content-Type", "application/json")
	view := complete(v, e)
	assert.Nil(t, view.RequestBody)
	assert.Nil(t, view.Call)
	assert.Zero(t, testing.AllocsPerRun(100, func() { complete(v, e) }))
}

// BenchmarkBody measures the exported copy of 4 KiB of JSON.
func BenchmarkBody(b *testing.B) {
	text := `[` + strings.Repeat(`{"id":12345,"name":"somebody","ok":true},`, 97) + `1]`
	for form := payload.Raw; form < payload.Forms; form++ {
		b.Run(form.String(), func(b *testing.B) {
			v := bodyViewer(b, form)
			v.bodies.Request = 4096
			e := posted(text, "Content-Type", "application/json")
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				complete(v, e)
			}
		})
	}
}
