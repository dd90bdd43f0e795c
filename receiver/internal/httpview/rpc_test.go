// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/rpc"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

func newRPCViewer(t *testing.T, methods ...string) *Viewer {
	t.Helper()
	redact, err := privacy.New(privacy.Options{Patterns: []string{"tenant[0-9]+"}})
	require.NoError(t, err)
	return New(Options{Redact: redact, RPCMethods: methods})
}

func answeredWith(code, target string) *request.Exchange {
	e := facttest.RPC()
	e.Target = []byte(target)
	e.Answer.Trailers[0].Value = []byte(code)
	return e
}

func TestRPC(t *testing.T) {
	viewer := newRPCViewer(t)
	view := viewer.Of(facttest.RPC())
	require.NotNil(t, view.RPC)
	call := *view.RPC
	assert.Equal(t, "grpc", call.System)
	assert.Equal(t, "_OTHER", call.Name, "nobody answered it with OK")
	assert.Equal(t, rpc.CodeUnavailable, call.Code)
	assert.EqualValues(t, 4e6, call.FirstMessage)
	assert.True(t, call.Timed)
	assert.Equal(t, []string{"", "UNAVAILABLE"}, []string{view.ErrorType, view.Failure()}, "HTTP did not fail")
	viewer.Complete(view)
	assert.Equal(t, "shop.v1.Cart/Add", string(view.RPC.Method))

	assert.Empty(t, viewer.Of(answeredWith("5", "/a.B/C")).Failure(), "the client's failure")
	broken := facttest.RPC()
	broken.Problem, broken.Answer.Trailers = request.ProblemCut, nil
	assert.Equal(t, "answer_cut", viewer.Of(broken).RPC.ErrorType)
	assert.Nil(t, viewer.Of(facttest.Exchange()).RPC)
}

func TestMethodsOfMetrics(t *testing.T) {
	viewer := newRPCViewer(t)
	name := func(code, target string) string { return viewer.Of(answeredWith(code, target)).RPC.Name }
	assert.Equal(t, "_OTHER", name("12", "/p.S/New"))
	assert.Equal(t, "p.S/New", name("0", "/p.S/New"))
	assert.Equal(t, "p.S/New", name("13", "/p.S/New"), "known now")
	assert.Equal(t, "REDACTED.S/M", name("0", "/tenant7.S/M"))
	assert.Equal(t, "_OTHER", name("0", "/p.S/"+strings.Repeat("m", MaxMethodBytes)))
	for i := range 2 * maxMethods {
		name("0", fmt.Sprint("/p.S/M", i))
	}
	assert.Len(t, viewer.rpcs.names, maxMethods)
	assert.Equal(t, "_OTHER", name("0", "/p.S/Last"))

	viewer = newRPCViewer(t, "p.S/Configured")
	assert.Equal(t, "p.S/Configured", name("14", "/p.S/Configured"))
	assert.Equal(t, "_OTHER", name("0", "/p.S/Other"))
}

func TestSelectionByCode(t *testing.T) {
	selection := Selection{}
	selection.Codes[rpc.CodeUnavailable] = true
	viewer := newViewer(t, Options{Select: selection})
	assert.True(t, viewer.Selects(viewer.Of(facttest.RPC())))
	assert.False(t, viewer.Selects(viewer.Of(answeredWith("0", "/a.B/C"))))
	assert.False(t, viewer.Selects(viewer.Of(answeredWith("99", "/a.B/C"))))
	assert.False(t, viewer.Selects(viewer.Of(facttest.Exchange())))
}
