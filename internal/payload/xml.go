// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"unicode/utf8"

	"github.com/ebpftcp/ebpftcpreceiver/internal/jsonscan"
)

// What the XML of a JSON text is made of. The value of the text is the element json, an
// item of an array is an element item, and a member of an object has its own name:
//
//	{"a": 1, "b c": ["1", null]}
//
//	<json type="object"><a type="number">1</a>
//	<b_x0020_c name="b c" type="array"><item>1</item><item type="null"/></b_x0020_c></json>
//
// There is no white space between elements. A value without type is a string. The name of
// a member is that of the attribute name, or else that of the element.
const (
	rootElement = "json"
	itemElement = "item"
)

// element is an open element.
type element struct {
	// start and end are where its name is in the output.
	start, end int
}

// xmlWriter appends to the output while it is within its bound.
type xmlWriter struct {
	out []byte
	// limit is the greatest length of the output.
	limit int
}

// full reports whether the output exceeds its bound. What is written then is of no use.
func (w *xmlWriter) full() bool { return len(w.out) > w.limit }

func (w *xmlWriter) put(text string) { w.out = append(w.out, text...) }

// AppendXML appends JSON as XML. If there is a problem, it appends nothing. cut says that
// the content lacks bytes. Numbers are verbatim, and repeated names stay in their order.
// Characters that XML 1.0 forbids become U+FFFD.
func (t *Transformer) AppendXML(to, content []byte, cut bool) ([]byte, Notes, Problem) {
	if cut {
		return to, Notes{}, ProblemTruncated
	}
	var notes Notes
	w := xmlWriter{out: to, limit: len(to) + t.Bytes}
	t.open = t.open[:0]
	t.scan.Reset(content, t.Depth)
	named := false
	for {
		kind, err := t.scan.Next()
		switch {
		case err != nil:
			return to, Notes{}, problem(err)
		case w.full():
			return to, Notes{}, ProblemTooLarge
		}
		switch kind {
		case jsonscan.End:
			return w.out, notes, ProblemNone
		case jsonscan.ObjectEnd, jsonscan.ArrayEnd:
			w.end(t.open[len(t.open)-1])
			t.open = t.open[:len(t.open)-1]
		case jsonscan.Name:
			e := t.name(&w, &notes)
			t.open = append(t.open, e)
			named = true
		default:
			if !named {
				t.open = append(t.open, w.begin(t.implied()))
			}
			named = false
			t.value(&w, kind, &notes)
		}
	}
}

// implied is the name of the next element, which is no member of an object.
func (t *Transformer) implied() string {
	if len(t.open) == 0 {
		return rootElement
	}
	return itemElement
}

// begin writes the start of a tag, up to its attributes.
func (w *xmlWriter) begin(name string) element {
	w.put("<")
	start := len(w.out)
	w.put(name)
	return element{start: start, end: len(w.out)}
}

func (w *xmlWriter) end(e element) {
	w.put("</")
	w.out = append(w.out, w.out[e.start:e.end]...)
	w.put(">")
}

// name writes the start of a member's tag, up to its type.
func (t *Transformer) name(w *xmlWriter, notes *Notes) element {
	e := w.begin("")
	mangled := w.mangle(&t.scan)
	e.end = len(w.out)
	if mangled {
		notes.Mangled++
		w.put(` name="`)
		notes.Replaced += w.text(&t.scan)
		w.put(`"`)
	}
	return e
}

// value writes the rest of the innermost element's tag and its value, and leaves only
// arrays and objects open.
func (t *Transformer) value(w *xmlWriter, kind jsonscan.Kind, notes *Notes) {
	e := t.open[len(t.open)-1]
	switch kind {
	case jsonscan.ObjectBegin:
		w.put(` type="object">`)
		return
	case jsonscan.ArrayBegin:
		w.put(` type="array">`)
		return
	case jsonscan.String:
		w.put(">")
		notes.Replaced += w.text(&t.scan)
		w.end(e)
	case jsonscan.Null:
		w.put(` type="null"/>`)
	case jsonscan.Number:
		w.put(` type="number">`)
		w.out = append(w.out, t.scan.Text()...)
		w.end(e)
	default:
		w.put(` type="boolean">`)
		w.out = append(w.out, t.scan.Text()...)
		w.end(e)
	}
	t.open = t.open[:len(t.open)-1]
}

// text writes the last string as the text of an element or an attribute. It returns how
// many characters it replaced.
func (w *xmlWriter) text(scan *jsonscan.Scanner) (replaced int) {
	for r, ok := range scan.Characters {
		if !ok || !isXMLCharacter(r) {
			r = utf8.RuneError
			replaced++
		}
		switch r {
		case '<':
			w.put("&lt;")
		case '>':
			w.put("&gt;")
		case '&':
			w.put("&amp;")
		case '"':
			w.put("&quot;")
		// A parser changes these in attributes, and carriage returns everywhere.
		case '\t':
			w.put("&#9;")
		case '\n':
			w.put("&#10;")
		case '\r':
			w.put("&#13;")
		default:
			w.out = utf8.AppendRune(w.out, r)
		}
		if w.full() {
			break
		}
	}
	return replaced
}

// isXMLCharacter reports whether XML 1.0 permits a character, written in any way.
func isXMLCharacter(r rune) bool {
	switch {
	case r < ' ':
		return r == '\t' || r == '\n' || r == '\r'
	case r < 0xd800:
		return true
	default:
		return 0xe000 <= r && r <= 0xfffd || 0x10000 <= r && r <= utf8.MaxRune
	}
}
