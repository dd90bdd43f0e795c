// SPDX-License-Identifier: Apache-2.0

package route

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func web() Server { return Server{Port: 80, Executable: "nginx"} }

func learner() *Learner { return NewLearner(Options{Children: 20, Nodes: 500, Servers: 4}) }

// learn learns a path n times and returns its last template.
func learn(l *Learner, n int, path string) string {
	got := ""
	for range n {
		got = l.Learn(web(), []byte(path))
	}
	return got
}

func find(l *Learner, path string) string { return l.Find(web(), []byte(path)) }

func TestVaries(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"1", "42", "-12.5", "2024-01-31", "order-12345", "0af76519", "0af7651916cd43dd8448eb211c80319c",
		"cafecafecafecafe", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "abcdabcd-abcd-abcd-abcd-abcdefabcdef",
		"cus_NffrFeUfNV2Hib", "dQw4w9WgXcQ", "YWJjZGVm=", "a%20b", "REDACTED", "user@example.org", "{id}", "*",
		"\xff\xfe", strings.Repeat("a", 41), "1.2",
	} {
		assert.True(t, varies([]byte(s)), s)
	}
	for _, s := range []string{
		"users", "v1", "v2.1", "oauth2", "sha256", "deadbeef", "index.html", "ipv4", "getUserAccountDetails", "things:batchGet",
		"a_b-c", "~alice", "Users",
	} {
		assert.False(t, varies([]byte(s)), s)
	}
}

func TestLearn(t *testing.T) {
	t.Parallel()
	l := learner()
	assert.Empty(t, find(l, "/api/v1/users/42"), "nothing is known")
	assert.Empty(t, learn(l, 1, "/api/v1/users/42"), "seen once")
	assert.Equal(t, "/api/v1/users/{id}", learn(l, 1, "/api/v1/users/42"))
	assert.Equal(t, "/api/v1/users/{id}", find(l, "/api/v1/users/77"))
	assert.Empty(t, find(l, "/api/v1/users"), "only what comes behind was answered")
	assert.Equal(t, "/api/v1/users", learn(l, 1, "/api/v1//users/"))
	assert.Empty(t, find(l, "/api/v1/orders"))
	assert.Equal(t, "/", learn(l, 1, "/"))
	assert.Equal(t, "/{id}", learn(l, 1, "/12"))
	for _, none := range []string{"", "*", "example.org:443"} {
		assert.Empty(t, learn(l, 3, none))
	}
	deep := strings.Repeat("/a", maxDepth+3)
	assert.Equal(t, strings.Repeat("/a", maxDepth)+"/{rest...}", learn(l, 3, deep))
	assert.Equal(t, strings.Repeat("/a", maxDepth)+"/{rest...}", find(l, deep+"/x"))
	assert.Empty(t, l.Find(Server{Port: 81, Executable: "nginx"}, []byte("/")), "another server")
	assert.Empty(t, l.Find(Server{Port: 80, Executable: "node"}, []byte("/")), "another server")
}

func TestTeaches(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{
		0: false, 101: false, 200: true, 204: true, 301: false, 304: false, 400: false, 401: false, 403: false, 404: false,
		500: true, 502: false,
	} {
		assert.Equal(t, want, Teaches(status), status)
	}
}

// TestManyNames: a level with more segments than it may have is a placeholder.
func TestManyNames(t *testing.T) {
	t.Parallel()
	for _, times := range []int{1, 2} {
		l := learner()
		learn(l, 2, "/users/someone")
		for i := range 1000 {
			learn(l, times, "/users/"+name(i))
		}
		assert.Equal(t, "/users/{id}", find(l, "/users/nobody"), times)
		assert.Equal(t, "/users/{id}", find(l, "/users/"+name(900)), times)
		learn(l, 2, "/users/"+name(900)+"/orders")
		assert.Equal(t, "/users/{id}/orders", find(l, "/users/nobody/orders"))
		if times == 2 {
			assert.LessOrEqual(t, len(l.servers[web()].root.children["users"].children), 1)
		}
	}
}

// name is a word without digits.
func name(i int) string {
	word := []byte("name")
	for ; i > 0; i /= 26 {
		word = append(word, 'a'+byte(i%26))
	}
	return string(word)
}

// routes are those of an application, of which each path is a use.
func routes() map[string]string {
	all := map[string]string{}
	for i := range 15 {
		all[fmt.Sprintf("/%ss/%d", name(i), i)] = fmt.Sprintf("/%ss/{id}", name(i))
	}
	return all
}

// TestAttack: whoever asks for many paths of a server that answers all of them takes no
// template from others, neither of those that are known nor of those that come later.
func TestAttack(t *testing.T) {
	t.Parallel()
	for _, known := range []int{0, established} {
		for _, repeat := range []int{1, 2, 5} {
			l := learner()
			for path := range routes() {
				learn(l, known, path)
			}
			random := rand.New(rand.NewPCG(1, 2))
			attack := func(n int) {
				for range n {
					path := ""
					for range 1 + random.IntN(10) {
						path += "/" + name(random.IntN(1<<40)+1)
					}
					learn(l, repeat, path)
				}
			}
			attack(5000)
			for path, route := range routes() {
				if known > 0 {
					assert.Equal(t, route, find(l, path))
				}
				for range established + 5 {
					learn(l, 1, path)
					attack(1)
				}
			}
			nodes := l.servers[web()]
			assert.LessOrEqual(t, nodes.nodes, 500)
			checkCounts(t, nodes)
			assert.LessOrEqual(t, len(nodes.root.children), 20)
			for path, route := range routes() {
				if repeat == 1 {
					assert.Equal(t, route, find(l, path), "known %d times, repeat %d", known, repeat)
				}
			}
		}
	}
}

// TestFullTreeEmpties: paths that took all places lose them once nobody asks for them, and those
// that somebody asks for stay.
func TestFullTreeEmpties(t *testing.T) {
	t.Parallel()
	l := NewLearner(Options{Children: 200, Nodes: 100, Servers: 1})
	learn(l, established, "/rare")
	for i := range 99 {
		learn(l, established, "/"+name(1+i))
	}
	known := l.servers[web()]
	assert.Equal(t, 100, known.nodes)
	assert.Empty(t, learn(l, established+5, "/shop/cart"), "there is no room")
	for range 20 {
		learn(l, 40, "/shop/cart")
		learn(l, 1, "/rare")
	}
	assert.Equal(t, "/shop/cart", find(l, "/shop/cart"))
	assert.Equal(t, "/rare", find(l, "/rare"))
	assert.Less(t, known.nodes, 50)
	checkCounts(t, known)
}

// checkCounts: forgetting all leaves a count of nothing.
func checkCounts(t *testing.T, of *tree) {
	t.Helper()
	copied := *of
	copied.forget(&of.root)
	assert.Equal(t, -1, copied.nodes, "the root is not counted")
	assert.Zero(t, copied.loose)
}

func TestLearnIsBounded(t *testing.T) {
	t.Parallel()
	l := NewLearner(Options{Children: 3, Nodes: 5, Servers: 2})
	for i := range 1000 {
		for _, server := range []Server{{Port: 1}, {Port: 2}, {Port: 3}} {
			for range 2 {
				l.Learn(server, []byte("/"+name(i)+"/"+name(2*i)+"/1/2/3/4/5/6/7/8/9"))
			}
		}
	}
	assert.Len(t, l.servers, 2)
	for _, known := range l.servers {
		assert.LessOrEqual(t, known.nodes, 5)
	}
	assert.Empty(t, l.Learn(Server{Port: 3}, []byte("/")))
}

// FuzzLearn: no template has a star, and one is its own template.
func FuzzLearn(f *testing.F) {
	f.Add("/a/b/1", "/*/{x}", byte(3))
	f.Add("/%2a/..", "//\xff/é", byte(200))
	f.Fuzz(func(t *testing.T, a, b string, times byte) {
		l := NewLearner(Options{Children: 2, Nodes: 20, Servers: 1})
		for range times {
			for _, path := range []string{a, b, a + b, b + a} {
				got := l.Learn(web(), []byte(path))
				if strings.ContainsAny(got, "*% ") || strings.IndexByte(got, 0xff) >= 0 || strings.Contains(got, "//") {
					t.Fatalf("%q became %q", path, got)
				}
				if found := l.Find(web(), []byte(path)); found != got && got != "" {
					t.Fatalf("%q became %q, then %q", path, got, found)
				}
			}
		}
		if tree := l.servers[web()]; tree != nil {
			assert.LessOrEqual(t, tree.nodes, 20)
			checkCounts(t, tree)
		}
	})
}

func TestLearnAllocatesNothing(t *testing.T) {
	l, path, s := learner(), []byte("/api/v1/users/42/orders"), web()
	learn(l, 3, string(path))
	assert.Equal(t, "/api/v1/users/{id}/orders", string(l.Learn(s, path)))
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		l.Learn(s, path)
		l.Find(s, path)
	}))
}

func BenchmarkLearn(b *testing.B) {
	l, path, s := learner(), []byte("/api/v1/users/42/orders"), web()
	learn(l, 3, string(path))
	b.ReportAllocs()
	for b.Loop() {
		l.Learn(s, path)
	}
}
