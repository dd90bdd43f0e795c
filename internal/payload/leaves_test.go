// SPDX-License-Identifier: Apache-2.0

package payload_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// leaf is a value of a JSON text, or an array or object that begins.
type leaf struct {
	// path has the names and indexes around it.
	path []string
	// kind is object, array, string, number, boolean or null.
	kind, text string
}

func (l leaf) String() string { return fmt.Sprintf("%q %s %q", l.path, l.kind, l.text) }

// walk gathers leaves while it goes through a text.
type walk struct {
	leaves []leaf
	// open has an entry for each open array or object: its path, and the count of items so
	// far, or -1 in an object.
	open []struct {
		path  []string
		count int
	}
	name string
}

// begin returns the path of the next value.
func (w *walk) begin() []string {
	if len(w.open) == 0 {
		return nil
	}
	in := &w.open[len(w.open)-1]
	if in.count < 0 {
		return append(slices.Clone(in.path), "."+w.name)
	}
	in.count++
	return append(slices.Clone(in.path), strconv.Itoa(in.count-1))
}

func (w *walk) add(kind, text string) {
	path := w.begin()
	w.leaves = append(w.leaves, leaf{path, kind, text})
	if kind == "object" || kind == "array" {
		count := 0
		if kind == "object" {
			count = -1
		}
		w.open = append(w.open, struct {
			path  []string
			count int
		}{path, count})
	}
}

func (w *walk) end() { w.open = w.open[:len(w.open)-1] }

// permitted replaces what XML 1.0 forbids, by its own definition.
func permitted(text string) string {
	return strings.Map(func(r rune) rune {
		if r == 9 || r == 10 || r == 13 || 0x20 <= r && r <= 0xd7ff || 0xe000 <= r && r <= 0xfffd || 0x10000 <= r && r <= 0x10ffff {
			return r
		}
		return 0xfffd
	}, text)
}

// leavesOfJSON reads with encoding/json.
func leavesOfJSON(t testing.TB, text []byte) []leaf {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	decoder.UseNumber()
	var w walk
	for isName := false; ; {
		inObject := len(w.open) > 0 && w.open[len(w.open)-1].count < 0
		isName = inObject && !isName
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return w.leaves
		}
		require.NoError(t, err)
		switch v := token.(type) {
		case json.Delim:
			isName = false
			switch v {
			case '{':
				w.add("object", "")
			case '[':
				w.add("array", "")
			default:
				w.end()
			}
		case string:
			if isName {
				w.name = permitted(v)
			} else {
				w.add("string", permitted(v))
			}
		case json.Number:
			w.add("number", string(v))
		case bool:
			w.add("boolean", strconv.FormatBool(v))
		case nil:
			w.add("null", "")
		}
	}
}

// leavesOfXML reads the form with encoding/xml.
func leavesOfXML(t testing.TB, text []byte) []leaf {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(text))
	var w walk
	// inside has the type of each open element.
	var inside []string
	content := ""
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			require.Empty(t, inside)
			return w.leaves
		}
		require.NoError(t, err, "%s", text)
		switch v := token.(type) {
		case xml.StartElement:
			kind := "string"
			w.name = v.Name.Local
			require.Empty(t, v.Name.Space)
			for _, a := range v.Attr {
				switch a.Name.Local {
				case "type":
					kind = a.Value
				case "name":
					w.name = a.Value
				default:
					require.Fail(t, "unknown attribute", a.Name.Local)
				}
			}
			inside, content = append(inside, kind), ""
			if kind == "object" || kind == "array" {
				w.add(kind, "")
			}
		case xml.CharData:
			content += string(v)
		case xml.EndElement:
			kind := inside[len(inside)-1]
			inside = inside[:len(inside)-1]
			if kind == "object" || kind == "array" {
				require.Empty(t, content)
				w.end()
				continue
			}
			// The name of an element without children is still that of its start.
			w.add(kind, content)
			content = ""
		default:
			require.Fail(t, "unknown token")
		}
	}
}

// recorder is a Builder that checks the order of calls.
type recorder struct {
	t testing.TB
	walk
	// names are those of each open map.
	names []map[string]bool
	keyed bool
}

func (r *recorder) add(kind, text string) {
	if len(r.open) > 0 {
		require.Equal(r.t, r.open[len(r.open)-1].count < 0, r.keyed, "a value in a map follows a key, others do not")
	}
	r.keyed = false
	r.walk.add(kind, text)
}

func (r *recorder) BeginMap() {
	r.add("object", "")
	r.names = append(r.names, map[string]bool{})
}

func (r *recorder) Key(name []byte) {
	r.name, r.keyed = string(name), true
	in := r.names[len(r.names)-1]
	require.False(r.t, in[r.name], "%q is there twice", r.name)
	in[r.name] = true
}

func (r *recorder) EndMap() {
	require.False(r.t, r.keyed)
	r.names = r.names[:len(r.names)-1]
	r.end()
}

func (r *recorder) BeginArray()        { r.add("array", "") }
func (r *recorder) EndArray()          { r.end() }
func (r *recorder) String(text []byte) { r.add("string", string(text)) }
func (r *recorder) Int(i int64)        { r.add("int", strconv.FormatInt(i, 10)) }
func (r *recorder) Double(f float64)   { r.add("double", strconv.FormatFloat(f, 'e', -1, 64)) }
func (r *recorder) Bool(b bool)        { r.add("boolean", strconv.FormatBool(b)) }
func (r *recorder) Null()              { r.add("null", "") }

// requireStructured holds what a builder got to what the text has.
func requireStructured(t testing.TB, want, got []leaf) {
	t.Helper()
	require.Len(t, got, len(want))
	for i, w := range want {
		g := got[i]
		require.Len(t, g.path, len(w.path))
		for j := range w.path {
			if g.path[j] != w.path[j] {
				require.True(t, strings.HasPrefix(g.path[j], w.path[j]+"#"), "%s: %s", w, g)
			}
		}
		switch {
		case w.kind == "number" && g.kind == "double":
			if len(w.text) < 100 && !hugeExponent(w.text) {
				x, ok := new(big.Rat).SetString(w.text)
				require.True(t, ok)
				y, ok := new(big.Rat).SetString(g.text)
				require.True(t, ok)
				require.Zero(t, x.Cmp(y), "%s: %s", w, g)
			}
			require.Equal(t, w.text[0] == '-', g.text[0] == '-')
		case w.kind == "number":
			require.Contains(t, []string{"int", "string"}, g.kind)
			require.Equal(t, w.text, g.text)
			if _, err := strconv.ParseInt(w.text, 10, 64); err == nil {
				require.Equal(t, "int", g.kind)
			}
		default:
			require.Equal(t, w.kind, g.kind)
			require.Equal(t, w.text, g.text)
		}
	}
}

// hugeExponent keeps big.Rat from taking all memory.
func hugeExponent(number string) bool {
	e := strings.IndexAny(number, "eE")
	return e >= 0 && len(strings.TrimLeft(number[e+1:], "+-0")) > 3
}
