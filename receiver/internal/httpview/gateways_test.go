// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/gateway"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// throughGateway are a request to Kong and the one that it made upstream.
func throughGateway() (asked, upstream *request.Exchange) {
	id := request.Field{Name: []byte("X-Kong-Request-Id"), Value: []byte("0123456789abcdef")}
	asked, upstream = new(request.Exchange), new(request.Exchange)
	asked.Server, upstream.Server = netip.MustParseAddrPort("127.0.0.1:8000"), netip.MustParseAddrPort("127.0.0.1:8080")
	asked.Request.Began, asked.Answer.Ended, asked.Finished = 100, 200, 200
	asked.Answer.SetFields(id)
	upstream.Request.Began, upstream.Answer.Ended, upstream.Finished = 110, 150, 150
	upstream.Request.SetFields(id, request.Field{Name: []byte("X-Consumer-Username"), Value: []byte("alice-secret")})
	return asked, upstream
}

func kongViewer(t *testing.T, patterns ...string) *Viewer {
	t.Helper()
	redact, err := privacy.New(privacy.Options{Patterns: patterns})
	require.NoError(t, err)
	return New(Options{Redact: redact, Gateways: Gateways{Kong: &Ports{8000: true}, Upstream: 4}})
}

// TestGatewaysAreRedacted: what Kong says passes the user's patterns, and the record lists it.
func TestGatewaysAreRedacted(t *testing.T) {
	v := kongViewer(t, "secret")
	asked, upstream := throughGateway()
	v.Tie(v.Of(upstream))
	view := v.Of(asked)
	v.Tie(view)
	v.Complete(view)
	require.True(t, view.Gateway.Tied)
	require.Len(t, view.Gateway.Values, 2)
	assert.Equal(t, gateway.UserName, view.Gateway.Values[1].Field)
	assert.Equal(t, "alice-REDACTED", string(view.Gateway.Values[1].Text))
	assert.Equal(t, []string{"header.x-consumer-username"}, view.Redacted)
	assert.Equal(t, gateway.Figures{Tied: 1}, v.UpstreamFigures())
}

func TestGatewaysOff(t *testing.T) {
	v := newViewer(t, Options{})
	asked, upstream := throughGateway()
	for _, e := range []*request.Exchange{upstream, asked} {
		view := v.Of(e)
		v.Tie(view)
		v.Complete(view)
		assert.Empty(t, view.Gateway.Name)
	}
	assert.Zero(t, v.UpstreamFigures())
	assert.Zero(t, (*Viewer)(nil).UpstreamFigures())
}

func TestTieAllocatesNothing(t *testing.T) {
	v := kongViewer(t)
	asked, upstream := throughGateway()
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		v.Tie(v.Of(upstream))
		v.Tie(v.Of(asked))
	}))
}
