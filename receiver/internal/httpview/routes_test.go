// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/route"
)

func learning() *route.Learner {
	return route.NewLearner(route.Options{Children: 20, Nodes: 100, Servers: 2})
}

// routeOf shows an exchange n times and returns its last route.
func routeOf(v *Viewer, n int, e request.Exchange) string {
	got := ""
	for range n {
		view := v.Of(&e)
		v.Route(view, "nginx")
		got = view.Route
	}
	return got
}

func get(target string, status int) request.Exchange {
	return request.Exchange{Method: []byte("GET"), Target: []byte(target), Status: status}
}

func TestRoutes(t *testing.T) {
	patterns := new(route.Table)
	require.NoError(t, patterns.Add("/users/{name}"))
	v := newViewer(t, Options{Routes: Routes{Patterns: patterns, Learner: learning()}})
	assert.Equal(t, "/users/{name}", routeOf(v, 1, get("/users/alice?x=y", 404)))
	assert.Equal(t, "/users/{name}", routeOf(v, 1, get("http://example.org/users/alice", 200)), "absolute form")
	assert.Empty(t, routeOf(v, 3, get("/orders/7", 404)), "nothing is learned from 404")
	assert.Equal(t, "/orders/{id}", routeOf(v, 2, get("/orders/7", 200)))
	assert.Equal(t, "/orders/{id}", routeOf(v, 1, get("/orders/8", 404)))
	assert.Empty(t, routeOf(v, 3, get("*", 200)))

	cut := get("/orders/9/and/mo", 200)
	cut.Request.HeadCut = true
	assert.Empty(t, routeOf(v, 3, cut), "the end of the path is unknown")
	unanswered := get("/other", 0)
	unanswered.Problem = request.ProblemIdle
	assert.Empty(t, routeOf(v, 3, unanswered))

	assert.Empty(t, routeOf(newViewer(t, Options{}), 3, get("/orders/7", 200)), "off")
}

// TestRoutesAreRedacted: no template has what is hidden in paths.
func TestRoutesAreRedacted(t *testing.T) {
	redact, err := privacy.New(privacy.Options{Patterns: []string{"/key-[a-z]+"}})
	require.NoError(t, err)
	v := New(Options{Redact: redact, Routes: Routes{Learner: learning()}})
	got := routeOf(v, 3, get("/a/key-secret/b", 200))
	assert.NotContains(t, got, "secret")
	assert.NotEmpty(t, got)

	view := v.Of(&request.Exchange{Method: []byte("GET"), Target: []byte("/a/key-secret/b"), Status: 200})
	v.Route(view, "nginx")
	v.Complete(view)
	assert.Equal(t, []string{"path"}, view.Redacted, "it is listed once")
}
