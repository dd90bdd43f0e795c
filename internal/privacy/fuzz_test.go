// SPDX-License-Identifier: Apache-2.0

package privacy

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

const (
	// hidden is planted where it must disappear.
	hidden = "sK-hunter2hunter2"
	// begun is as much of it as must not be left when its end is cut off.
	begun = "sK-hun"
)

// FuzzQuery plants a secret as the value of a key that is not allowed, in front of and behind
// anything.
func FuzzQuery(f *testing.F) {
	f.Add("a=b", "token", "&q=1", ";")
	f.Add("q=1;x", "%74oken", "#x", "?")
	f.Add("&&;=%", "a;b", "%", "#")
	f.Add("q", "%", "=&", ";q;")
	f.Fuzz(func(t *testing.T, before, key, after, separator string) {
		r := redactor(t, Options{AllowQuery: []string{"q"}})
		if strings.Contains(before+key+after+separator, hidden) {
			return
		}
		absent := func(query string) {
			var list List
			if got := r.Query(nil, []byte(query), false, &list); bytes.Contains(got, []byte(hidden)) {
				t.Fatalf("%q became %q", query, got)
			}
			if len(list.Names()) == 0 {
				t.Fatalf("%q: nothing is listed", query)
			}
		}
		// The key of the last parameter, as a server would see it.
		parameter := before + key
		parameter = parameter[strings.LastIndexByte(parameter, '&')+1:]
		first, _, _ := strings.Cut(parameter, "=")
		if name, err := url.QueryUnescape(first); err != nil || name != "q" {
			absent(before + key + "=" + hidden + after)
		}
		// Behind an allowed value, for servers that end parameters otherwise.
		if name, err := url.QueryUnescape(key); !strings.ContainsAny(key, "&;?#=") && (err != nil || name != "q") &&
			strings.ContainsAny(separator, ";?#") && !strings.ContainsAny(separator, "=") {
			absent("q=1" + separator[:strings.LastIndexAny(separator, ";?#")+1] + key + "=" + hidden + after)
		}
		// Alone.
		absent(before + "&" + hidden + "&" + after)
	})
}

// FuzzUserinfo plants a password in a URL.
func FuzzUserinfo(f *testing.F) {
	f.Add("/a/", "user", "/b")
	f.Add("http://", "a:b@c", "?x=http://h")
	f.Add("/%2", "%40", "")
	f.Add("https://h:80/", "", "@")
	f.Fuzz(func(t *testing.T, before, user, after string) {
		r := redactor(t, Options{AllowQuery: []string{"*"}})
		if strings.Contains(before+user+after, hidden) || strings.ContainsAny(user, "/\\?# \t\r\n\"<>%") {
			return
		}
		address := "//" + user + ":" + hidden + "@h" + after
		if strings.HasPrefix(strings.TrimLeft(user, ":@"), hidden) {
			return
		}
		for _, got := range [][]byte{
			[]byte(whole(r, before+address, nil)),
			[]byte(whole(r, "http:"+address, nil)),
			[]byte(whole(r, "/a?u="+url.QueryEscape("http:"+address), nil)),
			r.Header(nil, []byte("Referer"), []byte(before+address), nil),
			r.Header(nil, []byte("X-Any"), []byte(before+address), nil),
			r.Header(nil, []byte("Host"), []byte(user+":"+hidden+"@h"), nil),
			r.Body(nil, []byte(before+address), false, BodyRequest, nil),
		} {
			if bytes.Contains(got, []byte(hidden)) {
				t.Fatalf("%q became %q", before+address, got)
			}
		}
	})
}

// FuzzPattern plants what a pattern matches, also cut in two.
func FuzzPattern(f *testing.F) {
	f.Add("/a", "/b", uint16(5))
	f.Add("sK-%2", "%", uint16(12))
	f.Add("\xff\u00e9 sK-", "sK", uint16(9))
	f.Fuzz(func(t *testing.T, before, after string, cut uint16) {
		r := redactor(t, Options{AllowQuery: []string{"*"}, Patterns: []string{`sK-[a-z0-9]{8,}`, `(?i)before(.)`, `\d{4}`}})
		if strings.Contains(before+after, begun) {
			return
		}
		text := before + hidden + after
		for _, got := range [][]byte{
			[]byte(whole(r, text, nil)),
			r.Header(nil, []byte("X-Any"), []byte(text), nil),
			r.Body(nil, []byte(text), false, BodyRequest, nil),
			r.Query(nil, []byte(text), false, nil),
		} {
			if bytes.Contains(got, []byte(hidden)) {
				t.Fatalf("%q became %q", text, got)
			}
		}
		text = text[:min(len(text), len(before)+int(cut)%(len(hidden)+1))]
		for _, got := range [][]byte{
			r.Body(nil, []byte(text), true, BodyRequest, nil),
			r.Path(nil, []byte(text), true, nil),
			r.Query(nil, []byte(text), true, nil),
		} {
			if bytes.Contains(got, []byte(begun)) {
				t.Fatalf("%q, cut, became %q", text, got)
			}
		}
	})
}

func BenchmarkTarget(b *testing.B) {
	r := redactor(b, Options{AllowQuery: []string{"page"}})
	target, buffer := []byte("/api/v1/users/42/orders?page=3&token=abcdef&sort=name"), []byte(nil)
	var list List
	b.ReportAllocs()
	for b.Loop() {
		list.Reset()
		split := Split([]byte("GET"), target)
		buffer = r.Path(buffer[:0], split.Path, false, &list)
		buffer = r.Query(buffer, split.Query, false, &list)
	}
}

func BenchmarkPatterns(b *testing.B) {
	r := redactor(b, Options{Patterns: []string{`\b\d{16}\b`, `(?i)password=(\w+)`, `sk-[a-zA-Z0-9]{20,}`}})
	body, buffer := bytes.Repeat([]byte(`{"id": 12345, "name": "somebody", "ok": true},`), 90), []byte(nil)
	var list List
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		buffer = r.Body(buffer[:0], body, false, BodyRequest, &list)
	}
}

func BenchmarkHeaders(b *testing.B) {
	r := redactor(b, Options{})
	h, err := NewHeaders("http.request.header", []string{"x-request-id", "x-ratelimit-*", "cookie"})
	if err != nil {
		b.Fatal(err)
	}
	var fields []request.Field
	for _, name := range []string{"Host", "User-Agent", "Accept", "Accept-Encoding", "Cookie", "X-Request-Id", "Connection", "X-RateLimit-Limit"} {
		fields = append(fields, request.Field{Name: []byte(name), Value: []byte("something of usual length")})
	}
	var list List
	b.ReportAllocs()
	for b.Loop() {
		list.Reset()
		h.Select(fields, r, &list)
	}
}
