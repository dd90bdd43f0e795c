// SPDX-License-Identifier: Apache-2.0

package payload_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/payload"
)

func TestSelection(t *testing.T) {
	s, err := payload.NewSelection([]string{"application/json", "text/*", "Application/*+JSON"})
	require.NoError(t, err)
	for value, want := range map[string]bool{
		"application/json":                 true,
		"APPLICATION/Json":                 true,
		" application/json ;charset=utf-8": true,
		"application/json;":                true,
		"text/plain":                       true,
		"text/html; charset=x":             true,
		"application/problem+json":         true,
		"application/vnd.api+JSON; v=1":    true,
		"application/+json":                false,
		"application/jsonx":                false,
		"application/xjson":                false,
		"xapplication/json":                false,
		"application/json+xml":             false,
		"application/problem+json2":        false,
		"image/svg+json":                   false,
		"text/":                            false,
		"text":                             false,
		"/json":                            false,
		"":                                 false,
		"; application/json":               false,
	} {
		require.Equal(t, want, s.Selects([]byte(value)), value)
	}
	all, err := payload.NewSelection([]string{"*/*"})
	require.NoError(t, err)
	require.True(t, all.Selects(nil))
	none, err := payload.NewSelection(nil)
	require.NoError(t, err)
	require.False(t, none.Selects([]byte("text/plain")))
}

func TestSelectionErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                                 "slash",
		"json":                             "slash",
		"application/":                     "letters",
		"/json":                            "letters",
		"application/json; charset=utf-8":  "parameters",
		"*/json":                           "before the slash",
		"app*/json":                        "before the slash",
		"text/*plain":                      "suffix",
		"text/pl*":                         "suffix",
		"text/**":                          "suffix",
		"text/*+":                          "letters",
		"text/a b":                         "letters",
		"text/a/b":                         "letters",
		"text/ä":                           "letters",
		"text/" + strings.Repeat("a", 128): "letters",
	} {
		_, err := payload.NewSelection([]string{"text/plain", pattern})
		require.ErrorContains(t, err, want, pattern)
	}
	_, err := payload.NewSelection([]string{"a", "b"})
	require.ErrorContains(t, err, `"a"`)
	require.ErrorContains(t, err, `"b"`)
}

func TestIsJSON(t *testing.T) {
	for value, want := range map[string]bool{
		"application/json": true, "application/problem+json": true, "text/json; charset=utf-8": true, "image/x+JSON": true,
		"application/x-ndjson": false, "application/jsonl": false, "text/plain": false, "application/+json": false, "": false,
	} {
		require.Equal(t, want, payload.IsJSON([]byte(value)), value)
	}
}

func TestForms(t *testing.T) {
	seen := map[string]bool{"": true}
	for f := payload.Raw; f < payload.Forms; f++ {
		require.False(t, seen[f.String()])
		seen[f.String()] = true
		parsed, ok := payload.ParseForm(f.String())
		require.True(t, ok)
		require.Equal(t, f, parsed)
	}
	for _, name := range []string{"", "XML", "json"} {
		_, ok := payload.ParseForm(name)
		require.False(t, ok)
	}
}

func TestProblems(t *testing.T) {
	seen := map[string]bool{}
	for p := payload.ProblemNone; p < payload.Problems; p++ {
		require.False(t, seen[p.String()])
		seen[p.String()] = true
		require.Equal(t, p.String(), p.Error())
	}
	require.True(t, seen[""])
}

func TestText(t *testing.T) {
	for _, test := range []struct {
		content string
		cut     bool
		want    string
		text    bool
	}{
		{content: "a\tb\r\nä😀", want: "a\tb\r\nä😀", text: true},
		{content: "", want: "", text: true},
		{content: "a\xf0\x9f\x98", cut: true, want: "a", text: true},
		{content: "ä\xe2", cut: true, want: "ä", text: true},
		{content: "ä", cut: true, want: "ä", text: true},
		{content: "a\xf0\x9f\x98", want: "a\xf0\x9f\x98"},
		{content: "\xff\xfe", cut: true, want: "\xff\xfe"},
		{content: "\x80\x80\x80\x80", cut: true, want: "\x80\x80\x80\x80"},
		{content: "a\x00b", want: "a\x00b"},
		{content: "a\x1b[1m", want: "a\x1b[1m"},
		{content: "a\x7f", want: "a\x7f"},
	} {
		text, ok := payload.Text([]byte(test.content), test.cut)
		require.Equal(t, test.want, string(text), "%q", test.content)
		require.Equal(t, test.text, ok, "%q", test.content)
	}
	require.Equal(t, "a00ff", string(payload.AppendHex([]byte("a"), []byte("\x00\xff"))))
}
