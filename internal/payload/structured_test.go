// SPDX-License-Identifier: Apache-2.0

package payload_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/jsonscan"
	"github.com/ebpftcp/ebpftcpreceiver/internal/payload"
)

func transformer() *payload.Transformer {
	return &payload.Transformer{Limits: payload.DefaultLimits()}
}

// documents are JSON texts that both forms must keep.
func documents() map[string]string {
	return map[string]string{
		"object":             `{"a":1,"b":"x","c":[true,false,null],"d":{"e":{}}}`,
		"strings":            `["", " ", "\u0000\u001f\ufffe", "<a href=\"x\">&amp;]]></a>", "\t\r\n", "ä😀"]`,
		"string, null, {}":   `{"a":null,"b":"","c":{},"d":[],"e":[[]],"f":[{}],"g":"null"}`,
		"number or string":   `[1,"1",true,"true",null,"null"]`,
		"numbers":            `[0,-0,1.50,1e3,-1E-7,9223372036854775807,9223372036854775808,-9223372036854775808,0.1,0.10000000000000000001,1e400,1e-400,0e999999999999]`,
		"top-level string":   `"a\nb"`,
		"top-level number":   ` 12 `,
		"top-level null":     `null`,
		"repeated names":     `{"a":1,"a":2,"a#2":3,"a":{"a":1,"a":2},"b":{"a":1}}`,
		"odd names":          `{"":1,"a b":2,"1":3,"a:b":4,"xml":5,"XmLx":6,"_x":7,"_x0020_":8,"-":9,".":10,"ä":11,"a\u0000":12,"<&\"'>":13,"item":14,"json":15,"_x_":16,"_":17,"\ud83d":18,"\t\n\r":19}`,
		"names that collide": `{"a b":1,"a_b":2,"a_x0020_b":3,"a__b":4,"a\tb":5}`,
		"nested arrays":      `[[[1],[]],[[[]]],[2,[3]]]`,
		"lone surrogates":    `["\ud83d","\ude00x"]`,
		"invalid UTF-8":      "{\"a\xff\":\"b\xfe\xe2\x82\"}",
		"byte order mark":    "\ufeff{\"a\":1}",
		"long names":         `{"` + strings.Repeat("n", 300) + `":1,"` + strings.Repeat("n", 300) + `x":2,"` + strings.Repeat(" ", 100) + `":3}`,
		"scripts":            `{"größe":1,"Δοκιμή":2,"ключ":3,"名前":4,"かな":5,"한글":6,"שלום":7,"سلام":8,"😀":9,"é":10}`,
	}
}

func TestStructured(t *testing.T) {
	tr := transformer()
	for name, text := range documents() {
		t.Run(name, func(t *testing.T) {
			r := &recorder{t: t}
			_, problem := tr.Structured([]byte(text), false, r)
			require.Equal(t, payload.ProblemNone, problem)
			require.Empty(t, r.open)
			requireStructured(t, leavesOfJSON(t, []byte(text)), r.leaves)
		})
	}
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]string{
		"0": "int", "-1": "int", "9223372036854775807": "int", "-9223372036854775808": "int",
		"9223372036854775808": "string", "-9223372036854775809": "string", "123456789012345678901234567890": "string",
		"-0": "double", "0.0": "double", "-0.0e5": "double", "0.1": "double", "1.10": "double", "100.00": "double", "1e3": "double",
		"1E+3": "double", "0.00012": "double", "12e-1": "double", "1e22": "double", "5e-324": "double",
		"1.7976931348623157e308": "double", "1.7976931348623157e309": "string", "1e-400": "string",
		"0.10000000000000000001": "string", "3.14159265358979323846": "string", "9007199254740993.0": "string",
		"9007199254740992.0": "double", "1e99999999999": "string", "0e99999999999": "string",
	} {
		r := &recorder{t: t}
		notes, problem := transformer().Structured([]byte(text), false, r)
		require.Equal(t, payload.ProblemNone, problem)
		require.Equal(t, want, r.leaves[0].kind, text)
		require.Equal(t, want == "string", notes.Exact == 1, text)
	}
}

func TestRepeatedNames(t *testing.T) {
	r := &recorder{t: t}
	notes, problem := transformer().Structured([]byte(`{"a":1,"a":2,"a#3":3,"a":4,"a#2":5,"b":{"a":6}}`), false, r)
	require.Equal(t, payload.ProblemNone, problem)
	require.Equal(t, 3, notes.Repeated)
	var names []string
	for _, l := range r.leaves[1:] {
		names = append(names, strings.Join(l.path, ""))
	}
	require.Equal(t, []string{".a", ".a#2", ".a#3", ".a#4", ".a#2#2", ".b", ".b.a"}, names)

	// Many names and many repetitions take a time in proportion to their number.
	var text strings.Builder
	text.WriteString(`{"a":0`)
	for i := range 5000 {
		fmt.Fprintf(&text, `,"a":1,"a#%d":2`, i)
	}
	text.WriteString("}")
	r = &recorder{t: t}
	notes, problem = transformer().Structured([]byte(text.String()), false, r)
	require.Equal(t, payload.ProblemNone, problem)
	require.Greater(t, notes.Repeated, 5000)
	require.Len(t, r.leaves, 10_002)
}

func TestNotes(t *testing.T) {
	text := []byte("{\"a\xff\":\"\\u0001\\ud83d\xfe\ufffd\",\"b c\":1e999}")
	r := &recorder{t: t}
	notes, problem := transformer().Structured(text, false, r)
	require.Equal(t, payload.ProblemNone, problem)
	require.Equal(t, payload.Notes{Replaced: 4, Exact: 1}, notes)
	_, notes, problem = transformer().AppendXML(nil, text, false)
	require.Equal(t, payload.ProblemNone, problem)
	require.Equal(t, payload.Notes{Replaced: 4, Mangled: 2}, notes)
}

// nothing is a Builder that must not be called.
type nothing struct{ payload.Builder }

func TestJSONProblems(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	limits := payload.Limits{Depth: 5, Values: 10, Bytes: 200}
	for name, test := range map[string]struct {
		text    string
		cut     bool
		problem payload.Problem
	}{
		"nothing":         {text: "", problem: payload.ProblemTruncated},
		"open":            {text: `{"a":[1,2`, problem: payload.ProblemTruncated},
		"cut":             {text: `{"a":1}`, cut: true, problem: payload.ProblemTruncated},
		"no JSON":         {text: `<a/>`, problem: payload.ProblemInvalid},
		"invalid later":   {text: `{"a":1,"b":tru3}`, problem: payload.ProblemInvalid},
		"two values":      {text: `{}{}`, problem: payload.ProblemInvalid},
		"too deep":        {text: deep(6), problem: payload.ProblemTooDeep},
		"very deep":       {text: strings.Repeat("[", 1_000_000), problem: payload.ProblemTooDeep},
		"very deep names": {text: strings.Repeat(`{"a":`, 100_000), problem: payload.ProblemTooDeep},
		"too many":        {text: "[" + strings.Repeat("0,", 20) + "0]", problem: payload.ProblemTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &payload.Transformer{Limits: limits}
			notes, problem := tr.Structured([]byte(test.text), test.cut, nothing{})
			require.Equal(t, test.problem, problem)
			require.Zero(t, notes)
			to, notes, problem := tr.AppendXML([]byte("before"), []byte(test.text), test.cut)
			require.Equal(t, test.problem, problem)
			require.Zero(t, notes)
			require.Equal(t, "before", string(to))
		})
	}
	tr := &payload.Transformer{Limits: limits}
	_, problem := tr.Structured([]byte(deep(5)), false, &recorder{t: t})
	require.Equal(t, payload.ProblemNone, problem)
}

// FuzzStructured: a builder gets what encoding/json finds, in the right order of calls and
// with no name twice, or nothing.
func FuzzStructured(f *testing.F) {
	for _, text := range documents() {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"a":[1`))
	f.Fuzz(func(t *testing.T, text []byte) {
		tr := transformer()
		tr.Depth = jsonscan.MaxDepth
		r := &recorder{t: t}
		notes, problem := tr.Structured(text, false, r)
		if problem != payload.ProblemNone {
			require.Empty(t, r.leaves)
			require.Zero(t, notes)
			return
		}
		require.Empty(t, r.open)
		requireStructured(t, leavesOfJSON(t, text), r.leaves)
	})
}

func BenchmarkForms(b *testing.B) {
	var text strings.Builder
	text.WriteString("[")
	for i := range 40 {
		text.WriteString(`{"id":` + strconv.Itoa(i) + `,"name":"a name","tags":["x","y"],"price":12.50,"b c":null},`)
	}
	text.WriteString("0]")
	content := []byte(text.String())
	b.Run("structured", func(b *testing.B) {
		tr := transformer()
		b.SetBytes(int64(len(content)))
		b.ReportAllocs()
		for b.Loop() {
			if _, problem := tr.Structured(content, false, discard{}); problem != payload.ProblemNone {
				b.Fatal(problem)
			}
		}
	})
	b.Run("xml", func(b *testing.B) {
		tr := transformer()
		b.SetBytes(int64(len(content)))
		b.ReportAllocs()
		var out []byte
		for b.Loop() {
			var problem payload.Problem
			if out, _, problem = tr.AppendXML(out[:0], content, false); problem != payload.ProblemNone {
				b.Fatal(problem)
			}
		}
	})
}

// discard is a Builder that does nothing.
type discard struct{}

func (discard) BeginMap()      {}
func (discard) Key([]byte)     {}
func (discard) EndMap()        {}
func (discard) BeginArray()    {}
func (discard) EndArray()      {}
func (discard) String([]byte)  {}
func (discard) Int(int64)      {}
func (discard) Double(float64) {}
func (discard) Bool(bool)      {}
func (discard) Null()          {}

func TestMembersAreBounded(t *testing.T) {
	tr := transformer()
	tr.Members = 2
	for text, want := range map[string]payload.Problem{
		`{"a":1,"b":2}`:                             payload.ProblemNone,
		`{"a":1,"b":2,"c":3}`:                       payload.ProblemTooLarge,
		`[{"a":{"a":1,"b":2},"b":2},{"a":1}]`:       payload.ProblemNone,
		`{"a":{"a":1,"b":2},"b":{"a":1},"c":null}`:  payload.ProblemTooLarge,
		`{"a":[[1,2,3],{"a":1,"b":{"c":1,"d":2}}]}`: payload.ProblemNone,
	} {
		require.Equal(t, want, tr.Check([]byte(text), false), text)
	}
}
