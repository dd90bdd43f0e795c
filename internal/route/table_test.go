// SPDX-License-Identifier: Apache-2.0

package route

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func table(t testing.TB, patterns ...string) *Table {
	t.Helper()
	table := new(Table)
	for _, p := range patterns {
		require.NoError(t, table.Add(p))
	}
	return table
}

func TestTable(t *testing.T) {
	t.Parallel()
	some := table(t, "/users/{id}", "/users/me", "POST /users/{id}/x", "/files/{path...}", "/a/{$}", "/static/", "GET /only", "/caf%C3%A9/{x}", "/{$}")
	for _, test := range []struct{ method, path, want string }{
		{"GET", "/users/1", "/users/{id}"},
		{"GET", "/users/me", "/users/me"},
		{"POST", "/users/1/x", "/users/{id}/x"},
		{"GET", "/users/1/x", ""},
		{"GET", "/users/1/", ""},
		{"GET", "/users", ""},
		{"GET", "/files/a/b/c", "/files/{path...}"},
		{"GET", "/files/", "/files/{path...}"},
		{"GET", "/files", ""},
		{"GET", "/a/", "/a/"},
		{"GET", "/a/b", ""},
		{"GET", "/static/x/y", "/static/"},
		{"HEAD", "/only", "/only"},
		{"PUT", "/only", ""},
		{"GET", "/caf%c3%a9/1", "/caf%C3%A9/{x}"},
		{"GET", "/caf\xc3\xa9/1", "/caf%C3%A9/{x}"},
		{"GET", "/users/m%65", "/users/me"},
		{"GET", "/users/%6", "/users/{id}"},
		{"GET", "/users/%6" + strings.Repeat("%61", 200), "/users/{id}"},
		{"GET", "/", "/"},
		{"GET", "", ""},
		{"OPTIONS", "*", ""},
	} {
		assert.Equal(t, test.want, some.Find([]byte(test.method), []byte(test.path)), "%s %s", test.method, test.path)
	}
	assert.Empty(t, new(Table).Find([]byte("GET"), []byte("/")))
	assert.True(t, new(Table).Empty())
	assert.False(t, some.Empty())
}

func TestBadPatterns(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                              "a path is missing",
		"GET ":                          "a path is missing",
		"users":                         "does not begin with a slash",
		"GET example.org/users":         "hosts are not matched",
		"G(T /users":                    `"G(T" is no method`,
		"/a b/c d":                      `"/a" is no method`,
		"/a?b":                          "without spaces, ? and #",
		"/é":                            "printable ASCII",
		"/a{b}":                         "a placeholder is a whole segment",
		"/{a}b":                         "a placeholder is a whole segment",
		"/{a":                           "a placeholder is a whole segment",
		"/{}":                           "a name has letters",
		"/{1}":                          "a name has letters",
		"/{a-b}":                        "a name has letters",
		"/{a}/{a}":                      `the name "a" is there twice`,
		"/{a...}/b":                     "only the last segment",
		"/{$}/b":                        "only the last segment",
		"/a//b":                         "only the last segment",
		"/%zz":                          "invalid URL escape",
		strings.Repeat("/a", 40):        "40 segments are too many",
		"/" + strings.Repeat("a", 200):  "too long",
		"/" + strings.Repeat("a", 2000): "too long",
	} {
		assert.ErrorContains(t, new(Table).Add(text), want, "%q", text)
	}
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	some := table(t, "/users/{id}/posts", "/x/{a...}", "GET /y/{a}")
	for _, text := range []string{"/users/{name}/posts", "/users/me/{what}", "/x/", "/y/b"} {
		assert.ErrorContains(t, some.Add(text), "neither is more specific", "%q", text)
	}
	full := new(Table)
	for len(full.patterns) < maxPatterns {
		full.patterns = append(full.patterns, &pattern{segments: []segment{{kind: end}, {}}})
	}
	assert.ErrorContains(t, full.Add("/a"), "too many")
}

// TestTableIsLikeServeMux: of random patterns, the same are refused, and random paths find the
// same one.
func TestTableIsLikeServeMux(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	found := 0
	for range 3000 {
		mux, table, routes := http.NewServeMux(), new(Table), map[string]string{}
		for range 2 + random.IntN(6) {
			text := pick("", "", "GET ", "HEAD ", "POST ")
			for i := range 1 + random.IntN(4) {
				text += "/" + pick("a", "b", "%61", "{x"+string(rune('a'+i))+"}")
			}
			text += pick("", "", "/", "/{$}", "/{rest...}")
			refused := func() (refused bool) {
				defer func() { refused = recover() != nil }()
				mux.HandleFunc(text, func(http.ResponseWriter, *http.Request) {})
				return false
			}()
			err := table.Add(text)
			require.Equal(t, refused, err != nil, "%s: %v", text, err)
			if err == nil {
				p, _ := parse(text)
				routes[text] = p.route
			}
		}
		for range 20 {
			method, path := pick("GET", "HEAD", "POST", "PUT"), ""
			for range random.IntN(5) {
				path += "/" + pick("a", "b", "c", "%62")
			}
			path += pick("", "/")
			if path == "" {
				continue
			}
			r, err := http.NewRequest(method, path, nil)
			require.NoError(t, err)
			handler, text := mux.Handler(r)
			if fmt.Sprintf("%T", handler) == "*http.redirectHandler" { // it would add a slash
				continue
			}
			got := table.Find([]byte(method), []byte(path))
			require.Equal(t, routes[text], got, "%s %s: %v", method, path, routes)
			if got != "" {
				found++
			}
		}
	}
	assert.Greater(t, found, 1000)
}

func TestFindAllocatesNothing(t *testing.T) {
	some := table(t, "/users/{id}/posts/{post}", "GET /files/{path...}", "/users/me/x/y")
	method, path, escaped := []byte("HEAD"), []byte("/users/me/posts/7"), []byte("/fil%65s/a")
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		some.Find(method, path)
		some.Find(method, escaped)
	}))
}

func BenchmarkFind(b *testing.B) {
	some := table(b, "/users/{id}/posts/{post}", "GET /files/{path...}", "/users/me/x/y")
	method, path := []byte("GET"), []byte("/users/me/posts/7")
	b.ReportAllocs()
	for b.Loop() {
		some.Find(method, path)
	}
}

// FuzzTable: whatever a user writes and a client sends, a route that is found is that of a
// pattern.
func FuzzTable(f *testing.F) {
	f.Add("/a/{b}", "GET /a/b", "/a/b")
	f.Add("/{$}", "/{x...}", "/%2f%")
	f.Fuzz(func(t *testing.T, first, second, path string) {
		some, routes := new(Table), []string{""}
		for _, text := range []string{first, second} {
			if some.Add(text) == nil {
				p, err := parse(text)
				require.NoError(t, err)
				routes = append(routes, p.route)
			}
		}
		if got := some.Find([]byte("GET"), []byte(path)); !slices.Contains(routes, got) {
			t.Fatalf("%q became %q", path, got)
		}
	})
}
