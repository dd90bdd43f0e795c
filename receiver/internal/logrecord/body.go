// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"cmp"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/payload"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// bodyAttributes are those of one body. Each form has a name of its own, because many backends
// refuse a record whose attribute has another type than in earlier records.
type bodyAttributes struct {
	raw, hex, structured, xml, cut, encoding, errorType, replaced declared.Attribute
}

func requestBody() bodyAttributes {
	return bodyAttributes{
		raw: declared.AttrHTTPRequestBodyRaw, hex: declared.AttrHTTPRequestBodyHex,
		structured: declared.AttrHTTPRequestBodyStructured, xml: declared.AttrHTTPRequestBodyXML,
		cut: declared.AttrHTTPRequestBodyCut, encoding: declared.AttrHTTPRequestBodyEncoding,
		errorType: declared.AttrHTTPRequestBodyErrorType, replaced: declared.AttrHTTPRequestBodyReplacedCount,
	}
}

func answerBody() bodyAttributes {
	return bodyAttributes{
		raw: declared.AttrHTTPResponseBodyRaw, hex: declared.AttrHTTPResponseBodyHex,
		structured: declared.AttrHTTPResponseBodyStructured, xml: declared.AttrHTTPResponseBodyXML,
		cut: declared.AttrHTTPResponseBodyCut, encoding: declared.AttrHTTPResponseBodyEncoding,
		errorType: declared.AttrHTTPResponseBodyErrorType, replaced: declared.AttrHTTPResponseBodyReplacedCount,
	}
}

// mostOfBody is how many attributes a body has at most.
const mostOfBody = 5

// bodyProblem is why a body has not its form, as error.type of the record; "" if it has.
func bodyProblem(v *httpview.View) string {
	var problem string
	for _, b := range [...]*httpview.Body{v.RequestBody, v.AnswerBody} {
		if b != nil {
			problem = cmp.Or(problem, b.Problem.String())
		}
	}
	return problem
}

func (l *Logs) putBody(to pcommon.Map, b *httpview.Body, a bodyAttributes) {
	l.bytes += attributeBytes * mostOfBody
	switch {
	case b.Form == payload.Structured:
		b.Build(&builder{logs: l, value: to.PutEmpty(a.structured.Key())})
	case b.Form == payload.XML:
		to.PutStr(a.xml.Key(), l.content(b.Content))
	case b.Form == payload.Hex:
		to.PutStr(a.hex.Key(), l.content(b.Content))
	case b.Binary:
		to.PutEmptyBytes(a.raw.Key()).FromRaw(b.Content)
		l.bytes += len(b.Content)
	default:
		to.PutStr(a.raw.Key(), l.content(b.Content))
	}
	if b.Cut {
		to.PutBool(a.cut.Key(), true)
	}
	if b.Encoding != "" {
		to.PutStr(a.encoding.Key(), l.keep(clean.Append(l.line[:0], []byte(b.Encoding), maxText)))
	}
	if b.Problem != payload.ProblemNone {
		to.PutStr(a.errorType.Key(), b.Problem.String())
	}
	if b.Replaced > 0 {
		to.PutInt(a.replaced.Key(), int64(b.Replaced))
	}
}

// content makes a string of a body, which is text as its author wrote it.
func (l *Logs) content(text []byte) string {
	l.bytes += len(text)
	return l.text.add(text)
}

// builder makes values of pdata. value is where the next one goes.
type builder struct {
	logs  *Logs
	value pcommon.Value
	// open are the maps and arrays around it.
	open []level
}

// level is a map, or a slice if isSlice is set.
type level struct {
	fields  pcommon.Map
	items   pcommon.Slice
	isSlice bool
}

// next is where a value goes.
func (b *builder) next() pcommon.Value {
	b.logs.bytes += attributeBytes
	if n := len(b.open); n > 0 && b.open[n-1].isSlice {
		return b.open[n-1].items.AppendEmpty()
	}
	return b.value
}

// BeginMap implements payload.Builder.
func (b *builder) BeginMap() {
	b.open = append(b.open, level{fields: b.next().SetEmptyMap()})
}

// Key implements payload.Builder.
func (b *builder) Key(name []byte) {
	b.value = b.open[len(b.open)-1].fields.PutEmpty(b.logs.content(name))
}

// EndMap implements payload.Builder.
func (b *builder) EndMap() { b.open = b.open[:len(b.open)-1] }

// BeginArray implements payload.Builder.
func (b *builder) BeginArray() {
	b.open = append(b.open, level{items: b.next().SetEmptySlice(), isSlice: true})
}

// EndArray implements payload.Builder.
func (b *builder) EndArray() { b.open = b.open[:len(b.open)-1] }

// String implements payload.Builder.
func (b *builder) String(text []byte) { b.next().SetStr(b.logs.content(text)) }

// Int implements payload.Builder.
func (b *builder) Int(i int64) { b.next().SetInt(i) }

// Double implements payload.Builder.
func (b *builder) Double(f float64) { b.next().SetDouble(f) }

// Bool implements payload.Builder.
func (b *builder) Bool(value bool) { b.next().SetBool(value) }

// Null implements payload.Builder. An empty value is null.
func (b *builder) Null() { b.next() }
