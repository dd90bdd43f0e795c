// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is an engine. A path says what it does.
type fake struct {
	seen    []Request
	entered chan struct{}
	wait    chan struct{}
	closed  bool
}

func (e *fake) Judge(r *Request) (Verdict, error) {
	e.seen = append(e.seen, *r)
	switch r.Path {
	case "/panic":
		panic("a parser")
	case "/error":
		return Verdict{}, errors.New("broken")
	case "/wait":
		close(e.entered)
		<-e.wait
	case "/attack":
		return Verdict{Rules: strings.Split(strings.Repeat("942100,", 40), ","), Score: 5}, nil
	}
	return Verdict{Score: 4}, nil
}

func (e *fake) Close() error { e.closed = true; return nil }

func moment(path string) *engine.Moment {
	r := &reading.Record{Event: reading.HTTPRequest, Client: netip.MustParseAddr("192.0.2.7"), Path: path, Attributes: pcommon.NewMap()}
	r.Peer = r.Client
	r.Attributes.PutStr("url.path", path)
	r.Attributes.PutStr("http.request.method", "POST")
	r.Attributes.PutStr("url.query", "a=b")
	r.Attributes.PutEmptySlice("http.request.header.x-y").AppendEmpty().SetStr("z")
	r.Attributes.PutStr("tcp.http.request.body.raw", strings.Repeat("b", 100))
	e := engine.New(engine.Config{Rules: settings.Default(), IPv6Prefix: 64, Sources: 64, Services: 64, Findings: 64})
	return &engine.Moment{Record: r, Engine: e, Now: 1}
}

func TestAQueueOfRequests(t *testing.T) {
	set := settings.Default().PayloadSignature
	set.QueueSize, set.MaxBytes = 4, 64
	e := &fake{entered: make(chan struct{}), wait: make(chan struct{})}
	var found []*finding.Finding
	q := New(&set, e, func(_ finding.Subject, f *finding.Finding) { found = append(found, f) }, zaptest.NewLogger(t))
	q.Start()
	q.Judge(moment("/wait"))
	<-e.entered
	for _, path := range []string{"/attack", "/panic", "/error", "/ordinary", "/too much", "/too much"} {
		q.Judge(moment(path))
	}
	close(e.wait)
	require.NoError(t, q.Stop(t.Context()))
	assert.True(t, e.closed)
	require.Len(t, found, 1)
	assert.Len(t, found[0].Signatures, maxNamed)
	for outcome, n := range map[Outcome]uint64{Judged: 3, Failed: 2, QueueFull: 2, NotSampled: 0, Shutdown: 0} {
		assert.Equal(t, n, q.Outcomes[outcome].Load(), outcome)
	}
	assert.Equal(t, Request{
		Client: netip.MustParseAddr("192.0.2.7"), Method: "POST", Path: "/attack", Query: "a=b",
		Headers: []Header{{"x-y", "z"}}, Body: []byte(strings.Repeat("b", 64)),
	}, e.seen[1])
}

func TestAStopIsBounded(t *testing.T) {
	set := settings.Default().PayloadSignature
	e := &fake{entered: make(chan struct{}), wait: make(chan struct{})}
	q := New(&set, e, func(finding.Subject, *finding.Finding) {}, zaptest.NewLogger(t))
	q.Start()
	q.Judge(moment("/wait"))
	<-e.entered
	q.Judge(moment("/later"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, q.Stop(ctx), "the engine is busy, and goes on to be")
	assert.EqualValues(t, 2, q.Outcomes[Shutdown].Load())
	assert.False(t, e.closed)
	close(e.wait)
	<-q.ended
	assert.True(t, e.closed)
	assert.Zero(t, q.Outcomes[Judged].Load())
	assert.Zero(t, q.held.Load())
}

// TestWhatWaitsIsBoundedInBytes: few large requests, where many small ones would have room.
func TestWhatWaitsIsBoundedInBytes(t *testing.T) {
	set := settings.Default().PayloadSignature
	set.QueueBytes, set.MaxRate = 64<<10, 1000
	q := New(&set, &fake{}, func(finding.Subject, *finding.Finding) {}, zaptest.NewLogger(t))
	for range 100 {
		q.Judge(moment("/" + strings.Repeat("a", maxText)))
	}
	assert.EqualValues(t, 100-7, q.Outcomes[BudgetFull].Load())
	q.Start()
	require.NoError(t, q.Stop(t.Context()))
	assert.EqualValues(t, 7, q.Outcomes[Judged].Load())
	assert.Zero(t, q.held.Load())
}

func TestASampleIsAShareAndARate(t *testing.T) {
	set := settings.Default().PayloadSignature
	set.Sample = 0
	q := New(&set, &fake{}, nil, zaptest.NewLogger(t))
	q.Judge(moment("/"))
	assert.EqualValues(t, 1, q.Outcomes[NotSampled].Load())
	set.Sample, set.MaxRate = 1, 5
	for range 100 {
		q.Judge(moment("/"))
	}
	assert.GreaterOrEqual(t, q.Outcomes[NotSampled].Load(), uint64(80))
}
