// SPDX-License-Identifier: Apache-2.0

package privacy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJSON(t *testing.T) {
	for _, test := range []struct{ pattern, body, want, why string }{
		{`SECRET`, `{"a":"xSECRETy"}`, `{"a":"xREDACTEDy"}`, "inside of a string"},
		{`\d{9}`, `{"ssn": 123456789, "b":[1]}`, `{"ssn": "REDACTED", "b":[1]}`, "a number"},
		{`"admin":\s*(\w+)`, `{"admin": true,"x":null}`, `{"admin": "REDACTED","x":null}`, "a literal"},
		{`"password":\s*"([^"]*)"`, `{"password": "abc", "a":"b"}`, `{"password": "REDACTED", "a":"b"}`, "by its name"},
		{`"password":\s*"[^"]*"`, `{"password": "abc", "a":"b"}`, `{"REDACTED": "REDACTED", "a":"b"}`, "the name, too"},
		{`"password":"([^"]*)"`, `{"password":"a\"b"}`, `{"password":"REDACTED"}`, "an escaped quote does not end it"},
		{`a"b`, `{"x":"a\"b"}`, `{"x":"REDACTED"}`, "a quote in the secret"},
		{`SECRET`, `{"x":"S\u0045CRE\u0054!"}`, `{"x":"REDACTED!"}`, "escaped letters"},
		{`"secret":"([^"]*)"`, `{"s\u0065cret":"abc"}`, `{"s\u0065cret":"REDACTED"}`, "an escaped name"},
		{`0041`, `{"x":"a\u0041b"}`, `{"x":"aREDACTEDb"}`, "the inside of an escape"},
		{`x.y`, `{"a":"x😀y\ud83d\ude00","b":"x\ud83d\ude00y"}`, `{"a":"REDACTED\ud83d\ude00","b":"REDACTED"}`, "a pair of escapes"},
		{`b`, `{"a":"b"} b`, `{"a":"REDACTED"} REDACTED`, "behind the JSON"},
		{`SECRET`, `{"a":"SECRET`, `{"a":"REDACTED`, "no JSON"},
		{`nothing`, `{"a":"b"}`, `{"a":"b"}`, "no match"},
		{`nothing`, `{"url":"http:\/\/u:p@h\/"}`, `{"url":"http:\/\/REDACTED:REDACTED@h\/"}`, "userinfo"},
		{`nothing`, `{"url":"http:\u002f\u002fu:p@h"}`, `{"url":"http:\u002f\u002fREDACTED:REDACTED@h"}`, "escaped userinfo"},
	} {
		var list List
		got := redactor(t, Options{Patterns: []string{test.pattern}}).JSON(nil, []byte(test.body), false, BodyResponse, &list)
		assert.Equal(t, test.want, string(got), test.why)
		if test.want != test.body {
			assert.Equal(t, []string{BodyResponse}, list.Names(), test.why)
		}
	}
}

// TestJSONCut: the beginning of a secret is hidden, however much of an escape is left.
func TestJSONCut(t *testing.T) {
	r := redactor(t, Options{Patterns: []string{`SECRET`}})
	const body = `{"a":"S\u0045CRE\u0054`
	for n := len(`{"a":"S`); n < len(body); n++ {
		got := string(r.JSON(nil, []byte(body[:n]), true, BodyRequest, nil))
		assert.True(t, strings.HasPrefix(got, `{"a":"REDACTED`), "%s became %s", body[:n], got)
	}
}

func TestWithholds(t *testing.T) {
	var list List
	assert.False(t, redactor(t, Options{}).Withholds(BodyRequest, &list))
	assert.Empty(t, list.Names())
	assert.True(t, redactor(t, Options{Patterns: []string{"x"}}).Withholds(BodyRequest, &list))
	assert.Equal(t, []string{BodyRequest}, list.Names())
}

// FuzzJSON plants a secret in a string, with some letters escaped: no reader of the JSON finds
// it, and what was JSON has as many values as before.
func FuzzJSON(f *testing.F) {
	f.Add("a", "b", uint32(5))
	f.Add("\\", "\"", uint32(0xffff))
	f.Add("é\\u00", "4\u2028", uint32(0x5555))
	f.Add("//u:p@", "/", uint32(0))
	r := redactor(f, Options{Patterns: []string{`sK-[a-z0-9]{8,}`, `\d{4}`, `"u":"([^"]*)"`}})
	f.Fuzz(func(t *testing.T, before, after string, escaped uint32) {
		if strings.Contains(before+after, begun) {
			return
		}
		var body bytes.Buffer
		write := func(text string) {
			quoted, err := json.Marshal(text)
			require.NoError(t, err)
			body.Write(quoted[1 : len(quoted)-1])
		}
		body.WriteString(`{"s":"`)
		write(before)
		for i, c := range hidden {
			if escaped>>(i%32)&1 != 0 {
				fmt.Fprintf(&body, `\u%04x`, c)
			} else {
				body.WriteRune(c)
			}
		}
		write(after)
		body.WriteString(`","n":[12345,true,null,"x"],"u":"`)
		write(after)
		body.WriteString(`"}`)
		got := r.JSON(nil, body.Bytes(), false, BodyRequest, nil)
		var value struct {
			S string
			N []any
			U string
		}
		require.NoError(t, json.Unmarshal(got, &value), "%s became %s", body.Bytes(), got)
		require.NotContains(t, value.S, hidden)
		require.Equal(t, []any{Redacted, true, nil, "x"}, value.N)
		if after != "" {
			require.Equal(t, Redacted, value.U)
		}
		plain := r.Body(nil, body.Bytes(), false, BodyRequest, nil)
		require.NotContains(t, string(plain), hidden)
	})
}
