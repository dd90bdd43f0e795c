// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

func newModelViewer(t *testing.T, patterns ...string) *Viewer {
	t.Helper()
	redact, err := privacy.New(privacy.Options{Patterns: patterns})
	require.NoError(t, err)
	return New(Options{Redact: redact, Models: &Ports{80: true}})
}

func TestCalls(t *testing.T) {
	viewer := newModelViewer(t)
	view := viewer.Of(facttest.Call())
	require.NotNil(t, view.Call)
	c := *view.Call
	assert.False(t, view.Timed, "a stream is in no histogram of HTTP")
	assert.True(t, c.Timed && c.Succeeded && c.Stream)
	assert.Equal(t, []any{"m-1", "m-1-2026", "chat", "openai"}, []any{c.Request, c.Response, c.Operation, c.Provider})
	assert.Equal(t, []int64{12, 34, 5, 7, 6}, []int64{c.InputTokens, c.OutputTokens, c.CacheReadTokens, c.CacheCreationTokens, c.ReasoningTokens})
	assert.EqualValues(t, 5e6, c.FirstToken, "not when the head came, after 3 ms")

	e := facttest.Call()
	e.Answer.BodyBegan = 0
	assert.Zero(t, viewer.Of(e).Call.FirstToken, "unknown")
	e = facttest.Call()
	e.Status = 429
	assert.Zero(t, viewer.Of(e).Call.FirstToken, "refused")
	e = facttest.Call()
	e.Answer.SetFields()
	assert.Zero(t, viewer.Of(e).Call.FirstToken, "no stream")

	assert.Nil(t, viewer.Of(facttest.Exchange()).Call, "no endpoint of models")
	other := facttest.Call()
	other.Server = facttest.Flow6().Server
	assert.Nil(t, viewer.Of(other).Call, "another port")
	empty := facttest.Call()
	empty.Request.Body, empty.Answer.Body, empty.Answer.Tail = nil, nil, nil
	assert.Nil(t, viewer.Of(empty).Call, "nothing is known")
}

func TestCompressedCall(t *testing.T) {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, err := w.Write([]byte(`{"model":"m","usage":{"prompt_tokens":1,"completion_tokens":2}}`))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	e := facttest.Call()
	encoding := func(name string) {
		e.Answer.SetFields(request.Field{Name: []byte("Content-Encoding"), Value: []byte(name)})
	}
	encoding("gzip")
	e.Answer.Body, e.Answer.Tail, e.Answer.BodyCut = compressed.Bytes(), []byte("garbage"), false
	c := newModelViewer(t).Of(e).Call
	assert.Equal(t, []int64{1, 2}, []int64{c.InputTokens, c.OutputTokens})
	encoding("br")
	c = newModelViewer(t).Of(e).Call
	assert.Equal(t, []any{int64(-1), "m-1", ""}, []any{c.OutputTokens, c.Request, c.Response})
}

// TestNamesOfModels: clients can't fill the table, and can't hide secrets in it.
func TestNamesOfModels(t *testing.T) {
	viewer := newModelViewer(t, "sk-[a-z]+")
	call := func(model string, status int) string {
		e := facttest.Call()
		e.Request.Body, e.Status = []byte(`{"model":"`+model+`"}`), status
		return viewer.Of(e).Call.Request
	}
	assert.Equal(t, modelOther, call("unserved", 404))
	assert.Equal(t, "served", call("served", 200))
	assert.Equal(t, "served", call("served", 500))
	assert.Equal(t, "REDACTED", call("sk-secret", 200))
	e := facttest.Call()
	e.Request.Body = []byte(`{"model":"sk-secret"}`)
	view := viewer.Of(e)
	viewer.Complete(view)
	assert.Equal(t, "REDACTED", string(view.Call.RequestModel))
	assert.Contains(t, view.Redacted, "body.request")
}

// TestClientsShareTheNamesOfModels: one client can't use them up, and unused ones make room.
func TestClientsShareTheNamesOfModels(t *testing.T) {
	viewer := newModelViewer(t)
	now := int64(facttest.Epoch)
	call := func(from, model string) string {
		e := facttest.Call()
		e.Client = netip.AddrPortFrom(netip.MustParseAddr(from), 40000)
		e.Request.Body, e.Answer.Body, e.Answer.Tail = []byte(`{"model":"`+model+`"}`), nil, nil
		e.Finished = now
		return viewer.Of(e).Call.Request
	}
	names := &viewer.models.names
	for i := range 2 * maxModels {
		call("192.0.2.7", fmt.Sprint("model", i))
	}
	assert.Len(t, names.known, roomy, "what one client alone can add")
	assert.Equal(t, modelOther, call("192.0.2.7", "one more"))
	assert.Equal(t, "honest", call("192.0.2.8", "honest"))
	for client := range 100 {
		for i := range maxModels {
			call(fmt.Sprintf("198.51.100.%d", client), fmt.Sprintf("model%d.%d", client, i))
		}
	}
	assert.Len(t, names.known, maxModels)
	assert.Equal(t, modelOther, call("192.0.2.8", "late"))
	now += modelIdle / 2
	assert.Equal(t, "honest", call("192.0.2.8", "honest"))
	now += modelIdle/2 + 1
	assert.Equal(t, "late", call("192.0.2.8", "late"), "the others were not used for an hour")
	assert.Len(t, names.known, 2)
	assert.Equal(t, map[netip.Addr]int{netip.MustParseAddr("192.0.2.8"): 2}, names.added)
}

func TestCallsAllocateNothing(t *testing.T) {
	viewer, e := newModelViewer(t), facttest.Call()
	viewer.Of(e)
	assert.Zero(t, testing.AllocsPerRun(100, func() { viewer.Of(e) }))
}

// BenchmarkCall measures what reading a call takes, with a prompt of 4 KiB.
func BenchmarkCall(b *testing.B) {
	redact, err := privacy.New(privacy.Options{})
	require.NoError(b, err)
	viewer, e := New(Options{Redact: redact, Models: &Ports{80: true}}), facttest.Call()
	prompt := bytes.Repeat([]byte("prompt "), 585)
	e.Request.Body = bytes.Replace(e.Request.Body, []byte("secret prompt"), prompt, 1)
	b.SetBytes(int64(len(e.Request.Body) + len(e.Answer.Body) + len(e.Answer.Tail)))
	b.ReportAllocs()
	for b.Loop() {
		viewer.Of(e)
	}
}
