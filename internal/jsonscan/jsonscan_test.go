// SPDX-License-Identifier: Apache-2.0

package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/jsonscan"
)

const depth = 8

// read writes the tokens of a text, each as one character and its text.
func read(s *jsonscan.Scanner) (tokens string, err error) {
	var all []string
	for {
		kind, err := s.Next()
		if err != nil {
			return strings.Join(all, " "), err
		}
		switch kind {
		case jsonscan.End:
			return strings.Join(all, " "), nil
		case jsonscan.Name, jsonscan.String:
			text, _ := s.Append(nil)
			all = append(all, string(":\""[kind-jsonscan.Name])+string(text))
		default:
			all = append(all, string(s.Text()))
		}
	}
}

func TestScanner(t *testing.T) {
	for name, test := range map[string]struct {
		text, want string
		fault      jsonscan.Fault
	}{
		"object":          {text: ` {"a" : 1 , "b":{}} `, want: `{ :a 1 :b { } }`},
		"array":           {text: "[1,\"x\",[],\ttrue,false,null\r\n]", want: `[ 1 "x [ ] true false null ]`},
		"repeated names":  {text: `{"a":1,"a":2}`, want: `{ :a 1 :a 2 }`},
		"numbers":         {text: `[0,-0,10,-1.50,1e5,1E+05,2e-7]`, want: `[ 0 -0 10 -1.50 1e5 1E+05 2e-7 ]`},
		"string alone":    {text: `"a"`, want: `"a`},
		"number alone":    {text: `1`, want: `1`},
		"escapes":         {text: `"\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00"`, want: "\"\"\\/\b\f\n\r\tä😀"},
		"lone surrogates": {text: `"\ud83d\ud83d\ude00\ude00x"`, want: "\"\ufffd😀\ufffdx"},
		"invalid UTF-8":   {text: "\"a\xffb\xe2\x82\"", want: "\"a\ufffdb\ufffd\ufffd"},
		"byte order mark": {text: "\ufeff1", want: "1"},
		"deep enough":     {text: "[[[[[[[[]]]]]]]]", want: "[ [ [ [ [ [ [ [ ] ] ] ] ] ] ] ]"},

		"nothing":             {text: "", fault: jsonscan.Truncated},
		"white space":         {text: " \n", fault: jsonscan.Truncated},
		"too deep":            {text: "[[[[[[[[[", want: "[ [ [ [ [ [ [ [", fault: jsonscan.TooDeep},
		"open":                {text: `{"a":[1`, want: "{ :a [ 1", fault: jsonscan.Truncated},
		"name without value":  {text: `{"a"`, want: "{", fault: jsonscan.Truncated},
		"after a comma":       {text: `[1,`, want: "[ 1", fault: jsonscan.Truncated},
		"inside a string":     {text: `"a`, fault: jsonscan.Truncated},
		"inside an escape":    {text: `"\u00`, fault: jsonscan.Truncated},
		"inside a literal":    {text: `tru`, fault: jsonscan.Truncated},
		"inside a number":     {text: `-`, fault: jsonscan.Truncated},
		"after a point":       {text: `1.`, fault: jsonscan.Truncated},
		"after an e":          {text: `1e-`, fault: jsonscan.Truncated},
		"two values":          {text: `1 2`, want: "1", fault: jsonscan.Invalid},
		"comma at the end":    {text: `[1,]`, want: "[ 1", fault: jsonscan.Invalid},
		"comma in an object":  {text: `{"a":1,}`, want: "{ :a 1", fault: jsonscan.Invalid},
		"comma alone":         {text: `[,]`, want: "[", fault: jsonscan.Invalid},
		"no comma":            {text: `[1 2]`, want: "[ 1", fault: jsonscan.Invalid},
		"wrong bracket":       {text: `[1}`, want: "[ 1", fault: jsonscan.Invalid},
		"wrong bracket first": {text: `{]`, want: "{", fault: jsonscan.Invalid},
		"no colon":            {text: `{"a",1}`, want: "{", fault: jsonscan.Invalid},
		"name without quotes": {text: `{a:1}`, want: "{", fault: jsonscan.Invalid},
		"leading zero":        {text: `01`, fault: jsonscan.Invalid},
		"plus":                {text: `+1`, fault: jsonscan.Invalid},
		"point first":         {text: `.5`, fault: jsonscan.Invalid},
		"no digits":           {text: `1.e5`, fault: jsonscan.Invalid},
		"word":                {text: `trux`, fault: jsonscan.Invalid},
		"control character":   {text: "\"a\nb\"", fault: jsonscan.Invalid},
		"unknown escape":      {text: `"\x"`, fault: jsonscan.Invalid},
		"wrong digits":        {text: `"\u00g0"`, fault: jsonscan.Invalid},
		"comment":             {text: `/* */ 1`, fault: jsonscan.Invalid},
		"single quotes":       {text: `'a'`, fault: jsonscan.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			var s jsonscan.Scanner
			s.Reset([]byte(test.text), depth)
			tokens, err := read(&s)
			require.Equal(t, test.want, tokens)
			if test.fault == 0 {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, test.fault)
			_, again := s.Next()
			require.Equal(t, err, again)
		})
	}
}

func TestAppendCountsWhatItReplaces(t *testing.T) {
	for text, want := range map[string]int{
		`"plain ä 😀 \u00e4 \ud83d\ude00 \ufffd ` + "\ufffd" + `"`: 0,
		"\"\xff\xfe\"":               2,
		`"\ud83d"`:                   1,
		`"\ude00\ud83d\ud83d\ude00"`: 2,
		`"\ud83d\u0041"`:             1,
	} {
		var s jsonscan.Scanner
		s.Reset([]byte(text), depth)
		_, err := s.Next()
		require.NoError(t, err)
		got, replaced := s.Append(nil)
		require.Equal(t, want, replaced, text)
		require.True(t, utf8.Valid(got))
	}
}

func TestResetInside(t *testing.T) {
	object, array := jsonscan.ObjectBegin, jsonscan.ArrayBegin
	for _, test := range []struct {
		rest     string
		brackets []jsonscan.Kind
		whole    bool
	}{
		{`"a":1}`, []jsonscan.Kind{object}, true},
		{`"a":{"b":[]},"c":2} `, []jsonscan.Kind{object}, true},
		{`"a":1}}`, []jsonscan.Kind{object}, false},
		{`"a":1}}`, []jsonscan.Kind{object, object}, true},
		{`"a":1}`, []jsonscan.Kind{object, object}, false},
		{`"a":1}],"b":2}`, []jsonscan.Kind{object, array, object}, true},
		{`"a":1}},"b":2}`, []jsonscan.Kind{object, array, object}, false},
		{`1}`, []jsonscan.Kind{object}, false},
	} {
		var s jsonscan.Scanner
		s.ResetInside([]byte(test.rest), depth, test.brackets...)
		_, err := read(&s)
		require.Equal(t, test.whole, err == nil, "%s %v", test.rest, err)
	}
}

func TestPrefixesAreTruncated(t *testing.T) {
	const text = `{"a\u00e4\"":[1,-2.5e+7,"x\ud83d\ude00",true,false,null,{}],"b":"\\"}`
	for n := range len(text) {
		var s jsonscan.Scanner
		s.Reset([]byte(text[:n]), depth)
		_, err := read(&s)
		require.ErrorIs(t, err, jsonscan.Truncated, text[:n])
	}
}

// FuzzScanner: it accepts what encoding/json accepts, and finds the same tokens.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.5e+7,"x\u00e4\ud83d\ude00",true,false,null,{}]}`, `"\ud83d"`, "\"\xff\"", `[[[[`, `{"a"`, `01`, `"\`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.HasPrefix(text, []byte("\ufeff")) {
			return
		}
		var s jsonscan.Scanner
		s.Reset(text, jsonscan.MaxDepth)
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		for {
			kind, err := s.Next()
			require.LessOrEqual(t, s.Depth(), jsonscan.MaxDepth)
			if err == jsonscan.TooDeep {
				return
			}
			if err != nil {
				require.False(t, json.Valid(text), "%v", err)
				return
			}
			if kind == jsonscan.End {
				require.True(t, json.Valid(text))
				return
			}
			want, wantErr := decoder.Token()
			if wantErr != nil {
				require.False(t, json.Valid(text))
				return
			}
			switch kind {
			case jsonscan.Name, jsonscan.String:
				got, _ := s.Append(nil)
				require.Equal(t, want, string(got))
			case jsonscan.Number:
				require.Equal(t, want, json.Number(s.Text()))
			case jsonscan.True, jsonscan.False:
				require.Equal(t, want, kind == jsonscan.True)
			case jsonscan.Null:
				require.Nil(t, want)
			default:
				require.Equal(t, want, json.Delim(s.Text()[0]))
			}
		}
	})
}

func BenchmarkScanner(b *testing.B) {
	text := []byte(`{"id":1234567,"name":"a name","tags":["x","y"],"price":12.50,"nested":{"a":true,"b":null}}`)
	text = append(append([]byte{'['}, bytes.Repeat(append(text, ','), 50)...), "0]"...)
	b.Run("own", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		var s jsonscan.Scanner
		for b.Loop() {
			s.Reset(text, depth)
			for kind := jsonscan.None; kind != jsonscan.End; {
				var err error
				if kind, err = s.Next(); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			d := json.NewDecoder(bytes.NewReader(text))
			d.UseNumber()
			for {
				if _, err := d.Token(); err != nil {
					break
				}
			}
		}
	})
}
