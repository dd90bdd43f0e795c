// SPDX-License-Identifier: Apache-2.0

package reading

import (
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Attributes with content of a request. A header field's begins with headerPrefix; the receiver's
// declaration has no more than that.
const (
	headerPrefix   = "http.request.header."
	method         = "http.request.method"
	urlQuery       = "url.query"
	bodyRaw        = "tcp.http.request.body.raw"
	bodyXML        = "tcp.http.request.body.xml"
	bodyStructured = "tcp.http.request.body.structured"
)

// Part is where in a request something stands.
type Part uint8

// The parts.
const (
	PartMethod Part = iota
	PartPath
	PartQuery
	PartHeader
	PartBody
)

// maxDepth and maxValues bound what is read of a structured body.
const (
	maxDepth  = 64
	maxValues = 4096
)

// Content calls back for each text of a request: name is that of a header field. The texts belong
// to the log record. It passes over the attributes once.
func (r *Record) Content(each func(part Part, name, text string)) {
	if r.Attributes == (pcommon.Map{}) {
		return
	}
	for key, value := range r.Attributes.All() {
		switch {
		case key == method:
			entire(PartMethod, value, each)
		case key == urlPath:
			entire(PartPath, value, each)
		case key == urlQuery:
			entire(PartQuery, value, each)
		case key == bodyRaw || key == bodyXML:
			entire(PartBody, value, each)
		case key == bodyStructured:
			left := maxValues
			walk(value, maxDepth, &left, each)
		case strings.HasPrefix(key, headerPrefix):
			fields(key[len(headerPrefix):], value, each)
		}
	}
}

func entire(part Part, value pcommon.Value, each func(Part, string, string)) {
	switch value.Type() {
	case pcommon.ValueTypeStr:
		each(part, "", value.Str())
	case pcommon.ValueTypeBytes:
		each(part, "", string(value.Bytes().AsRaw()))
	}
}

func fields(name string, value pcommon.Value, each func(Part, string, string)) {
	if value.Type() != pcommon.ValueTypeSlice {
		return
	}
	for _, one := range value.Slice().All() {
		if one.Type() == pcommon.ValueTypeStr {
			each(PartHeader, name, one.Str())
		}
	}
}

// walk reads the names and the strings of a structured body.
func walk(value pcommon.Value, depth int, left *int, each func(Part, string, string)) {
	if *left <= 0 || depth == 0 {
		return
	}
	*left--
	switch value.Type() {
	case pcommon.ValueTypeMap:
		for name, member := range value.Map().All() {
			each(PartBody, "", name)
			walk(member, depth-1, left, each)
		}
	case pcommon.ValueTypeSlice:
		for _, item := range value.Slice().All() {
			walk(item, depth-1, left, each)
		}
	case pcommon.ValueTypeStr:
		each(PartBody, "", value.Str())
	}
}
