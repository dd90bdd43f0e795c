// SPDX-License-Identifier: Apache-2.0

package payload_test

import (
	"encoding/xml"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/jsonscan"
	"github.com/ebpftcp/ebpftcpreceiver/internal/payload"
)

func toXML(t testing.TB, text string) string {
	t.Helper()
	tr := transformer()
	tr.Bytes = 64 << 20
	out, _, problem := tr.AppendXML(nil, []byte(text), false)
	require.Equal(t, payload.ProblemNone, problem)
	return string(out)
}

func TestXML(t *testing.T) {
	for text, want := range map[string]string{
		`{"a": 1, "b c": ["1", null]}`: `<json type="object"><a type="number">1</a>` +
			`<b_x0020_c name="b c" type="array"><item>1</item><item type="null"/></b_x0020_c></json>`,
		`"x"`:               `<json>x</json>`,
		`""`:                `<json></json>`,
		`null`:              `<json type="null"/>`,
		`{}`:                `<json type="object"></json>`,
		`[]`:                `<json type="array"></json>`,
		`[[],[true]]`:       `<json type="array"><item type="array"></item><item type="array"><item type="boolean">true</item></item></json>`,
		`1.50E+3`:           `<json type="number">1.50E+3</json>`,
		`"<&>\"'\t\n\r"`:    `<json>&lt;&amp;&gt;&quot;'&#9;&#10;&#13;</json>`,
		`"\u0000"`:          "<json>\ufffd</json>",
		`{"a":1,"a":2}`:     `<json type="object"><a type="number">1</a><a type="number">2</a></json>`,
		`{"":1}`:            `<json type="object"><_x_ name="" type="number">1</_x_></json>`,
		`{"xml":"","1":""}`: `<json type="object"><_x0078_ml name="xml"></_x0078_ml><_x0031_ name="1"></_x0031_></json>`,
		`{"_x":"","😀":""}`:  `<json type="object"><_x005F_x name="_x"></_x005F_x><_x1F600_ name="😀"></_x1F600_></json>`,
	} {
		require.Equal(t, want, toXML(t, text), text)
	}
}

func TestXMLKeepsLeaves(t *testing.T) {
	for name, text := range documents() {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, leavesOfJSON(t, []byte(text)), leavesOfXML(t, []byte(toXML(t, text))))
		})
	}
}

// TestXMLLint holds the form to another parser than Go's: what xmllint reads and writes again
// has the same leaves.
func TestXMLLint(t *testing.T) {
	lint, err := exec.LookPath("xmllint")
	require.NoError(t, err, "scripts/deps.sh test installs it")
	var all []string
	for _, text := range documents() {
		all = append(all, strings.TrimPrefix(text, "\ufeff"))
	}
	all = append(all, strings.Repeat("[", 63)+strings.Repeat("]", 63), everyNameCharacter())
	text := []byte("[" + strings.Join(all, ",") + "]")
	cmd := exec.Command(lint, "--nonet", "--c14n", "-")
	cmd.Stdin = strings.NewReader(toXML(t, string(text)))
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, leavesOfJSON(t, text), leavesOfXML(t, out))
}

// everyNameCharacter is an object with a name for each character of the first plane that a
// name begins with, and one that contains it.
func everyNameCharacter() string {
	var names []string
	for r := rune(1); r <= 0xffff; r++ {
		if xmlName(string(r)) == string(r) || r < 0x600 {
			names = append(names, strconv.QuoteToASCII(string(r)), strconv.QuoteToASCII("n"+string(r)))
		}
	}
	text := `{` + strings.Join(names, `:0,`) + `:0}`
	// Go's escapes of control characters are not JSON's.
	return strings.NewReplacer(`\x`, `\u00`, `\a`, `\u0007`, `\v`, `\u000b`).Replace(text)
}

// xmlName is how a name is mangled.
func xmlName(name string) string {
	out, _, _ := transformer().AppendXML(nil, []byte(`{"`+name+`":0}`), false)
	_, rest, _ := strings.Cut(string(out), `<json type="object"><`)
	mangled, _, _ := strings.Cut(rest, " ")
	return mangled
}

// unmangle reads a mangled name back, by the definition alone.
func unmangle(t testing.TB, name string) string {
	t.Helper()
	if name == "_x_" {
		return ""
	}
	var b strings.Builder
	for name != "" {
		if rest, ok := strings.CutPrefix(name, "_x"); ok {
			digits, after, ok := strings.Cut(rest, "_")
			require.True(t, ok)
			n, err := strconv.ParseUint(digits, 16, 32)
			require.NoError(t, err)
			b.WriteRune(rune(n))
			name = after
			continue
		}
		r, n := utf8.DecodeRuneInString(name)
		b.WriteRune(r)
		name = name[n:]
	}
	return b.String()
}

func TestMangledNamesReadBack(t *testing.T) {
	for _, name := range []string{
		"", "a", "_x_", "_x", "__x", "_ x", "x", " x0041_", "_x0041_", "_", "__", "xml", "xMl_x", "_xml", "xm", "1", "1_x1", "a.b-c", ".a",
		"a:b", "größe", "\u0300", "a\u0300", "😀", "\U0010ffff", "_xlong-1", "\ufffd", "×÷",
	} {
		require.Equal(t, name, unmangle(t, xmlName(name)), name)
	}
}

func TestXMLSizeIsBounded(t *testing.T) {
	for _, text := range []string{
		`"` + strings.Repeat(`&`, 100_000) + `"`,
		`{"` + strings.Repeat(` `, 100_000) + `":1}`,
		"[" + strings.Repeat("0,", 50_000) + "0]",
		strings.Repeat("[", 100) + strings.Repeat("]", 100),
	} {
		tr := &payload.Transformer{Limits: payload.Limits{Depth: 200, Bytes: 1000}}
		to := make([]byte, 0, 4096)
		_, _, problem := tr.AppendXML(to, []byte(text), false)
		require.Equal(t, payload.ProblemTooLarge, problem)
	}
	text := []byte(`{"a":"b"}`)
	size := len(toXML(t, string(text)))
	for bytes, want := range map[int]payload.Problem{size: payload.ProblemNone, size - 1: payload.ProblemTooLarge} {
		tr := &payload.Transformer{Limits: payload.Limits{Depth: 2, Bytes: bytes}}
		_, _, problem := tr.AppendXML([]byte("before"), text, false)
		require.Equal(t, want, problem)
	}
}

// FuzzXML: the form parses, is within its bound, has the leaves that encoding/json finds, and
// different names are never mangled to one.
func FuzzXML(f *testing.F) {
	for _, text := range documents() {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"a":[1`))
	f.Fuzz(func(t *testing.T, text []byte) {
		tr := transformer()
		tr.Depth = jsonscan.MaxDepth
		out, notes, problem := tr.AppendXML(nil, text, false)
		if problem != payload.ProblemNone {
			require.Empty(t, out)
			require.Zero(t, notes)
			return
		}
		require.LessOrEqual(t, len(out), tr.Bytes)
		require.True(t, utf8.Valid(out))
		require.Equal(t, leavesOfJSON(t, text), leavesOfXML(t, out))
		requireNamesReadBack(t, string(out))
	})
}

// requireNamesReadBack holds each mangled name to the name that it stands for.
func requireNamesReadBack(t testing.TB, text string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := decoder.Token()
		if err != nil {
			return
		}
		start, ok := token.(xml.StartElement)
		if !ok || strings.HasPrefix(start.Name.Local, "_xlong-") {
			continue
		}
		for _, a := range start.Attr {
			if a.Name.Local == "name" {
				require.Equal(t, a.Value, permitted(unmangle(t, start.Name.Local)))
			}
		}
	}
}
