// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

func newViewer(t *testing.T, o Options) *Viewer {
	t.Helper()
	var err error
	o.Redact, err = privacy.New(privacy.Options{AllowQuery: []string{"c", "to"}})
	require.NoError(t, err)
	return New(o)
}

func TestTargets(t *testing.T) {
	for _, test := range []struct {
		method, target, host    string
		path, query, named, why string
		port                    uint16
	}{
		{"GET", "/a/b?c=d", "example.org:8080", "/a/b", "c=d", "example.org", "origin form", 8080},
		{"GET", "http://u:p@h.example:81/x?y", "other", "/x", "REDACTED", "h.example", "absolute form", 81},
		{"GET", "http://h.example", "", "", "", "h.example", "absolute form without path", 0},
		{"GET", "/redirect?to=http://evil/", "h", "/redirect", "to=http://evil/", "h", "a URL in a query", 0},
		{"CONNECT", "h.example:443", "x", "", "", "h.example", "authority form", 443},
		{"OPTIONS", "*", "h", "*", "", "h", "asterisk form", 0},
		{"GET", "/", "[2001:db8::1]:80", "/", "", "2001:db8::1", "IPv6", 80},
		{"GET", "/", "[2001:db8::1]", "/", "", "2001:db8::1", "IPv6 without port", 0},
		{"GET", "/", "2001:db8::1", "/", "", "2001:db8::1", "IPv6 without brackets", 0},
		{"GET", "/", "h:99999", "/", "", "h:99999", "no port", 0},
		{"", "", "", "", "", "", "nothing", 0},
	} {
		e := &request.Exchange{Method: []byte(test.method), Target: []byte(test.target)}
		if test.host != "" {
			e.Request.SetFields(request.Field{Name: []byte("HOST"), Value: []byte(test.host)})
		}
		viewer := newViewer(t, Options{})
		view := viewer.Of(e)
		viewer.Complete(view)
		assert.Equal(t, test.path, string(view.Path), test.why)
		assert.Equal(t, test.query, string(view.Query), test.why)
		assert.Equal(t, test.named, string(view.Host), test.why)
		assert.Equal(t, test.port, view.HostPort, test.why)
	}
}

func TestMeasures(t *testing.T) {
	viewer := newViewer(t, Options{})
	e := &request.Exchange{Method: []byte("get"), Status: 503}
	e.Request.Began, e.Answer.Ended = 1, 1e9+1
	view := viewer.Of(e)
	assert.Equal(t, MethodOther, view.Method, "methods are case-sensitive")
	assert.Equal(t, "503", view.ErrorType)
	assert.True(t, view.Timed)
	assert.EqualValues(t, 1e9, view.Duration)

	e.Method = []byte("GET")
	assert.Equal(t, "GET", viewer.Of(e).Method)
	assert.Equal(t, MethodOther, newViewer(t, Options{Methods: []string{"PURGE"}}).Of(e).Method)

	e.Switched = true
	assert.False(t, viewer.Of(e).Timed)
	e.Switched = false
	e.Answer.SetFields(request.Field{Name: []byte("Content-Type"), Value: []byte("Text/Event-Stream; charset=utf-8")})
	assert.False(t, viewer.Of(e).Timed)

	view = viewer.Of(&request.Exchange{Problem: request.ProblemIdle})
	assert.Equal(t, "idle", view.ErrorType)
	assert.False(t, view.Timed)
}

func TestSelection(t *testing.T) {
	slow := &request.Exchange{Status: 200}
	slow.Request.Began, slow.Answer.Ended = 1, int64(time.Second)+1
	waited := &request.Exchange{Finished: int64(time.Second) + 1}
	waited.Request.Began = 1
	var missing [1000]bool
	missing[404] = true
	for name, test := range map[string]struct {
		selection Selection
		exchange  *request.Exchange
		selected  int
	}{
		"nothing":       {Selection{}, slow, 0},
		"all":           {Selection{SampleRate: 1}, slow, 10},
		"some":          {Selection{SampleRate: 5}, slow, 2},
		"slow":          {Selection{MinDuration: time.Second}, slow, 10},
		"long wait":     {Selection{MinDuration: time.Second}, waited, 10},
		"not slow":      {Selection{MinDuration: time.Minute}, slow, 0},
		"status":        {Selection{Statuses: missing}, &request.Exchange{Status: 404}, 10},
		"other status":  {Selection{Statuses: missing}, slow, 0},
		"odd status":    {Selection{Statuses: missing}, &request.Exchange{Status: 1000}, 0},
		"problem":       {Selection{Problems: true}, &request.Exchange{Problem: request.ProblemCut}, 10},
		"other problem": {Selection{}, &request.Exchange{Problem: request.ProblemCut}, 0},
	} {
		viewer := newViewer(t, Options{Select: test.selection})
		selected := 0
		for range 10 {
			if viewer.Selects(viewer.Of(test.exchange)) {
				selected++
			}
		}
		assert.Equal(t, test.selected, selected, name)
	}
}
