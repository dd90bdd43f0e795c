// SPDX-License-Identifier: Apache-2.0

package privacy

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

func redactor(t testing.TB, o Options) *Redactor {
	r, err := New(o)
	require.NoError(t, err)
	return r
}

// whole redacts a target as the receiver does, and puts it together again.
func whole(r *Redactor, target string, list *List) string {
	split := Split([]byte("GET"), []byte(target))
	split.Userinfo(list)
	out := []byte(nil)
	if len(split.Scheme) > 0 {
		out = append(append(append(out, split.Scheme...), "://"...), split.Authority...)
	}
	out = r.Path(out, split.Path, false, list)
	if split.Query != nil {
		out = r.Query(append(out, '?'), split.Query, false, list)
	}
	return string(out)
}

func TestTarget(t *testing.T) {
	t.Parallel()
	o := Options{AllowQuery: []string{"q", "a b", "flag"}, Patterns: []string{`card-(\d{4,})`, `SECRET\w*`}}
	for _, test := range []struct {
		name, target, want string
		list               []string
	}{
		{"plain", "/a/b.html", "/a/b.html", nil},
		{"empty", "", "", nil},
		{"asterisk", "*", "*", nil},
		{"question mark only", "/a?", "/a?", nil},
		{"value", "/a?token=x", "/a?token=REDACTED", []string{"query.token"}},
		{"allowed", "/a?q=x&token=y", "/a?q=x&token=REDACTED", []string{"query.token"}},
		{"empty value", "/a?token=", "/a?token=", nil},
		{"allowed in another case", "/a?Q=x", "/a?Q=REDACTED", []string{"query.Q"}},
		{"encoded key", "/a?%74oken=x&%71=y", "/a?%74oken=REDACTED&%71=y", []string{"query.token"}},
		{"twice encoded key", "/a?%2571=y", "/a?%2571=REDACTED", []string{"query.%71"}},
		{"plus in a key", "/a?a+b=x&a%20b=y", "/a?a+b=x&a%20b=y", nil},
		{"malformed key", "/a?%zz=x&%7=y&q%=z", "/a?%zz=REDACTED&%7=REDACTED&q%=REDACTED", []string{"query"}},
		{"malformed value", "/a?t=%zz%&u=%", "/a?t=REDACTED&u=REDACTED", []string{"query.t", "query.u"}},
		{"duplicates", "/a?t=1&t=2&t=3", "/a?t=REDACTED&t=REDACTED&t=REDACTED", []string{"query.t"}},
		{"no equals sign", "/a?secret&q=x&flag", "/a?REDACTED&q=x&flag", []string{"query"}},
		{"no key", "/a?=secret", "/a?=REDACTED", []string{"query"}},
		{"equals signs in a value", "/a?t=a=b=c", "/a?t=REDACTED", []string{"query.t"}},
		{"semicolon in a value", "/a?t=a;b=c", "/a?t=REDACTED", []string{"query.t"}},
		{"semicolon behind an allowed value", "/a?q=1;t=2;q=3;x", "/a?q=1;t=REDACTED;q=3;REDACTED", []string{"query.t", "query"}},
		{"semicolon in a key", "/a?secret;q=1", "/a?REDACTED;q=REDACTED", []string{"query", "query.q"}},
		{"second question mark", "/a?q=1?t=2", "/a?q=1?t=REDACTED", []string{"query.t"}},
		{"fragment", "/a#access_token=x", "/a#access_token=REDACTED", []string{"path"}},
		{"fragment behind the query", "/a?q=1#t=2", "/a?q=1#t=REDACTED", []string{"query.t"}},
		{"HTML", "/a?q=1&amp;t=2", "/a?q=1&REDACTED;t=REDACTED", []string{"query", "query.t"}},
		{"base64 alone", "/a?c2VjcmV0LXRva2Vu==", "/a?REDACTED", []string{"query"}},
		{"base64 alone, one sign", "/a?c2VjcmV0LXRva2U=", "/a?REDACTED", []string{"query"}},
		{"short base64", "/a?dG9rZQ==", "/a?REDACTED", []string{"query"}},
		{"ordinary empty values", "/a?include_archived=&page=", "/a?include_archived=&page=", nil},
		{"long key", "/a?" + strings.Repeat("k", 200) + "=x", "/a?REDACTED=REDACTED", []string{"query"}},
		{"odd key", "/a?a(b)=x", "/a?a(b)=REDACTED", []string{"query"}},
		{"absolute form", "http://h:80/a?t=x", "http://h:80/a?t=REDACTED", []string{"query.t"}},
		{"userinfo", "http://user:pw@h/a", "http://h/a", []string{"userinfo"}},
		{"two at signs", "http://us@er:p@w@h/a", "http://h/a", []string{"userinfo"}},
		{"slash in a password", "http://user:p/w@h/a", "http://h/a", []string{"userinfo"}},
		{"no path", "http://user:pw@h", "http://h", []string{"userinfo"}},
		{"network path", "//user:pw@h/a", "//REDACTED:REDACTED@h/a", []string{"userinfo"}},
		{"URL in a path", "/proxy/http://user@h/a", "/proxy/http://REDACTED@h/a", []string{"userinfo"}},
		{"encoded URL in a path", "/p/http%3A%2F%2Fus:pw%40h%2Fa", "/p/http%3A%2F%2FREDACTED:REDACTED%40h%2Fa", []string{"userinfo"}},
		{"URL in an allowed value", "/a?q=http%3A%2F%2Fus%3Apw%40h", "/a?q=http%3A%2F%2FREDACTED%3AREDACTED%40h", []string{"query"}},
		{"userinfo without scheme", "user:pw@h:80", "REDACTED:REDACTED@h:80", []string{"userinfo"}},
		{"at sign in a path", "/@user/a@b", "/@user/a@b", nil},
		{"at sign behind a URL", "/p/http://h:80/@user", "/p/http://h:80/@user", nil},
		{"session", "/a;jsessionid=AB.c;v=1/b;JSESSIONID=x", "/a;jsessionid=REDACTED;v=1/b;JSESSIONID=REDACTED", []string{"path"}},
		{"pattern", "/x/SECRETabc/y", "/x/REDACTED/y", []string{"path"}},
		{"group of a pattern", "/card-1234567/y", "/card-REDACTED/y", []string{"path"}},
		{"encoded pattern", "/card-12%33%34567/y", "/card-REDACTED/y", []string{"path"}},
		{"twice encoded pattern", "/SE%2543RET", "/REDACTED", []string{"path"}},
		{"pattern in an allowed value", "/a?q=card-1234", "/a?q=card-REDACTED", []string{"query"}},
		{"pattern in a key", "/a?SECRETkey=1", "/a?REDACTED=REDACTED", []string{"query"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var list List
			assert.Equal(t, test.want, whole(redactor(t, o), test.target, &list))
			assert.Equal(t, test.list, list.Names())
		})
	}
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	const query = "X-Amz-Signature=a&X-Amz-Credential=b&X-Amz-Security-Token=c&sig=d&X-Goog-Signature=e&AWSAccessKeyId=f&Signature=g&SIG=h&%73ig=i&q=1;sig=j"
	var list List
	got := string(redactor(t, Options{AllowQuery: []string{"*"}}).Query(nil, []byte(query), false, &list))
	for i := range 10 {
		assert.NotContains(t, got, "="+string(rune('a'+i)))
	}
	assert.Contains(t, got, "q=1;")
	assert.Contains(t, list.Names(), "query.X-Amz-Signature")
}

func TestConnect(t *testing.T) {
	t.Parallel()
	split := Split([]byte("CONNECT"), []byte("user:pw@example.com:443"))
	assert.Equal(t, Target{Authority: []byte("example.com:443"), HadUserinfo: true}, split)
	split = Split([]byte("GET"), []byte("ht+tp.1://example.com"))
	assert.Equal(t, "ht+tp.1", string(split.Scheme))
	assert.Equal(t, "example.com", string(split.Authority))
	assert.Empty(t, split.Path)
	assert.Nil(t, split.Query)
}

func TestHeader(t *testing.T) {
	t.Parallel()
	o := Options{AllowHeaders: []string{"X-API-Key"}, AllowQuery: []string{"q"}, Patterns: []string{`SECRET\w*`}}
	for _, test := range []struct{ header, value, want string }{
		{"Authorization", "Bearer x", "REDACTED"},
		{"AUTHORIZATION", "", ""},
		{"Cookie", "a=b", "REDACTED"},
		{"Set-Cookie", "a=b", "REDACTED"},
		{"Proxy-Authorization", "Basic x", "REDACTED"},
		{"X-Forwarded-Authorization", "Basic x", "REDACTED"},
		{"x-api-key", "allowed", "allowed"},
		{"x-api-key", "SECRET1", "REDACTED"},
		{"Accept", "*/*", "*/*"},
		{"X-Custom", "a SECRETx b", "a REDACTED b"},
		{"Referer", "https://us:pw@h/a?q=1&t=2", "https://REDACTED:REDACTED@h/a?q=1&t=REDACTED"},
		{"Location", "/a?t=2", "/a?t=REDACTED"},
		{"Location", "https://h/cb#access_token=x&q=1", "https://h/cb#access_token=REDACTED&q=1"},
		{"X-Original-URL", "/a?t=2", "/a?t=REDACTED"},
		{"X-Forwarded-Uri", "/a?t=2", "/a?t=REDACTED"},
		{"Link", `<https://h/?t=1>; rel="next", <https://h/?q=1>`, `<https://h/?t=REDACTED>; rel="next", <https://h/?q=1>`},
		{"X-Other", "see https://h/?t=1 or what?", "see https://h/?t=REDACTED or what?"},
		{"Host", "us:pw@h:80", "REDACTED:REDACTED@h:80"},
		{"X-Forwarded-Host", "us@h", "REDACTED@h"},
		{"From", "webmaster@example.com", "webmaster@example.com"},
		{"X-Json", `{"u":"https:\/\/us:pw@h\/"}`, `{"u":"https:\/\/REDACTED:REDACTED@h\/"}`},
	} {
		t.Run(test.header+" "+test.value, func(t *testing.T) {
			t.Parallel()
			var list List
			assert.Equal(t, test.want, string(redactor(t, o).Header(nil, []byte(test.header), []byte(test.value), &list)))
			if test.want == test.value {
				assert.Empty(t, list.Names())
			} else {
				assert.Equal(t, []string{"header." + strings.ToLower(test.header)}, list.Names())
			}
		})
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	r := redactor(t, Options{Patterns: []string{
		`"password":"([^"]*)"`, `\b\d{16}\b`, `(?i)key=\w+|PIN:\s*\d+`, `-----BEGIN (?:A|B)+-----(?s:.*?)-----END`,
	}})
	for _, test := range []struct {
		name, body string
		cut        bool
		want       string
	}{
		{"nothing", `{"a":1}`, false, `{"a":1}`},
		{"group", `{"password":"x","a":1}`, false, `{"password":"REDACTED","a":1}`},
		{"empty group", `{"password":""}`, false, `{"password":""}`},
		{"several", `1234567890123456 KEY=a PIN: 1`, false, `REDACTED REDACTED REDACTED`},
		{"not cut", `{"password":"x`, false, `{"password":"x`},
		{"cut in the secret", `{"a":1,"password":"x`, true, `{"a":1,REDACTED`},
		{"cut in the name", `{"a":1,"pass`, true, `{"a":1,REDACTED`},
		{"cut number", `a 1234567890`, true, `a REDACTED`},
		{"cut, other case", `a Key=ab`, true, `a REDACTED`},
		{"cut, nothing begun", `{"a":1}.`, true, `{"a":1}.`},
		{"cut in a long one", "x -----BEGIN AB-----\nMII\nabc", true, "x REDACTED"},
		{"cut in userinfo", "x http://user:p", true, "x http://REDACTED"},
		{"cut behind an at sign", "x http://user:p@q", true, "x http://REDACTED"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var list List
			assert.Equal(t, test.want, string(r.Body(nil, []byte(test.body), test.cut, BodyRequest, &list)))
			if test.want != test.body {
				assert.Equal(t, []string{BodyRequest}, list.Names())
			} else {
				assert.Empty(t, list.Names())
			}
		})
	}
}

// A pattern must see what another one redacts.
func TestOverlappingPatterns(t *testing.T) {
	t.Parallel()
	r := redactor(t, Options{Patterns: []string{`\d{4}`, `\d{4}-(\w+)`, `b\w+f`}})
	assert.Equal(t, "x REDACTED-REDACTED", string(r.Text(nil, []byte("x 1234-abcdef"), false, "path", nil)))
}

func TestBoundedInput(t *testing.T) {
	t.Parallel()
	r := redactor(t, Options{Patterns: []string{`SECRET`}})
	var list List
	long := bytes.Repeat([]byte("a"), maxText)
	got := r.Path(nil, append(append([]byte("/"), long...), "SECRET"...), false, &list)
	assert.Equal(t, "/"+string(long[1:])+Redacted, string(got))
	got = r.Body(nil, append(bytes.Repeat([]byte("a"), maxBody-3), "SECRET"...), false, BodyResponse, &list)
	assert.NotContains(t, string(got), "SEC", "a secret on both sides of the bound")
	assert.Equal(t, []string{"path", BodyResponse}, list.Names())
}

func TestListIsBounded(t *testing.T) {
	t.Parallel()
	r := redactor(t, Options{})
	var list List
	for i := range 5000 {
		r.Query(nil, []byte("k"+strconv.Itoa(i)+"=x"), false, &list)
	}
	assert.Len(t, list.Names(), maxListed)
	assert.Equal(t, 5000-maxListed, list.More())
	assert.LessOrEqual(t, len(r.names), maxInterned)
	list.Reset()
	assert.Empty(t, list.Names())
	assert.Zero(t, list.More())
}

func TestErrors(t *testing.T) {
	t.Parallel()
	_, err := New(Options{
		AllowHeaders: []string{"ok", "not ok"},
		AllowQuery:   []string{"", "sig"},
		Patterns:     []string{"fine", "(", "x*", strings.Repeat("a", 513)},
	})
	for _, want := range []string{
		`allow_headers: entry 1, "not ok", is no name of a header field`,
		`allow_query: entry 0 is empty`,
		`allow_query: entry 1, "sig", is the key of a signature, which is always redacted`,
		"patterns: entry 1: error parsing regexp: missing closing ): `(`",
		`patterns: entry 2: "x*" matches the empty string`,
		`patterns: entry 3: its 513 bytes are more than 512`,
	} {
		assert.ErrorContains(t, err, want)
	}
	_, err = New(Options{Patterns: make([]string, maxPatterns+1)})
	assert.ErrorContains(t, err, "patterns: 65 are more than 64")
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	h, err := NewHeaders("http.request.header", []string{"X-Request-ID", "x-ratelimit-*", "authorization"})
	require.NoError(t, err)
	r := redactor(t, Options{Patterns: []string{`S{900}S+`}})
	var list List
	field := func(name, value string) request.Field {
		return request.Field{Name: []byte(name), Value: []byte(value)}
	}
	got, left := h.Select([]request.Field{
		field("Host", "a"), field("x-request-id", "1"), field("X-RateLimit-Limit", "5"), field("X-REQUEST-ID", "2"),
		field("Authorization", "Bearer x"), field("X-RateLimit-(odd)", "6"),
	}, r, &list)
	assert.Equal(t, []Header{
		{"http.request.header.x-request-id", [][]byte{[]byte("1"), []byte("2")}},
		{"http.request.header.x-ratelimit-limit", [][]byte{[]byte("5")}},
		{"http.request.header.authorization", [][]byte{[]byte("REDACTED")}},
	}, got)
	assert.Zero(t, left)
	assert.Equal(t, []string{"header.authorization"}, list.Names())

	got, left = h.Select([]request.Field{field("X-Request-Id", strings.Repeat("S", 2000)), field("x-request-id", strings.Repeat("b", 2000))}, r, nil)
	assert.Equal(t, "REDACTED", string(got[0].Values[0]), "cut after redaction, not before")
	assert.Len(t, got[0].Values[1], maxValueSize)
	assert.Zero(t, left)

	var many []request.Field
	for i := range 10000 {
		many = append(many, field("x-ratelimit-"+strconv.Itoa(i/20), strings.Repeat("v", 100)))
	}
	got, left = h.Select(many, r, nil)
	values := 0
	for _, header := range got {
		assert.NotEmpty(t, header.Values)
		values += len(header.Values)
	}
	assert.LessOrEqual(t, len(got), maxHeaders)
	assert.Equal(t, 10000, values+left)
	assert.LessOrEqual(t, len(h.learned), maxInterned)

	none, err := NewHeaders("a", nil)
	require.NoError(t, err)
	assert.True(t, none.Empty())
	got, _ = none.Select(many, r, nil)
	assert.Empty(t, got)
}

func TestHeadersErrors(t *testing.T) {
	t.Parallel()
	_, err := NewHeaders("a", []string{"x-*-y", "a b", "", "Host", "host", "*"})
	for _, want := range []string{
		`entry 0, "x-*-y": a * is only possible at the end`, `entry 1, "a b", is no name`, `entry 2, "", is no name`, `entry 4, "host", is there twice`,
	} {
		assert.ErrorContains(t, err, want)
	}
	assert.NotContains(t, err.Error(), "entry 5")
}

func TestAllocatesNothing(t *testing.T) {
	// Without patterns: the race detector makes the memory of regular expressions grow.
	r := redactor(t, Options{AllowQuery: []string{"q"}})
	h, err := NewHeaders("http.request.header", []string{"x-request-id", "referer"})
	require.NoError(t, err)
	fields := []request.Field{{Name: []byte("X-Request-Id"), Value: []byte("1")}, {Name: []byte("Referer"), Value: []byte("https://h/?t=1")}}
	var list List
	target := []byte("/api/v1/users/%41?q=1&token=2&%74=3")
	buffer := make([]byte, 0, 1024)
	work := func() {
		list.Reset()
		split := Split([]byte("GET"), target)
		buffer = r.Path(buffer[:0], split.Path, false, &list)
		buffer = r.Query(buffer, split.Query, false, &list)
		h.Select(fields, r, &list)
	}
	work()
	assert.Zero(t, testing.AllocsPerRun(100, work))
}
