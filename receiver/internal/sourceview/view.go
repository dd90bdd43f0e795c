// SPDX-License-Identifier: Apache-2.0

// Package sourceview knows how facts per source and per service look as log records: the line
// for people, and the attributes. logrecord writes them.
package sourceview

import (
	"strconv"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// View is one record. It is reused: a Viewer's next one replaces it.
type View struct {
	Event declared.Event
	// Time is Unix nanoseconds.
	Time  int64
	NetNS uint32
	// Line is for people. It begins with the event's name.
	Line   []byte
	Values []Value
}

// Value is one attribute.
type Value struct {
	Attribute declared.Attribute
	Kind      Kind
	Int       int64
	Double    float64
	// Text is a constant. If it is "", Begin and End are the text's place in View.Line.
	Text       string
	Begin, End int
}

// Kind is the type of a value.
type Kind uint8

const (
	Int Kind = iota
	Double
	Text
)

// Viewer makes views. It is for one goroutine at a time.
type Viewer struct{ view View }

func (v *Viewer) begin(event declared.Event, time int64, netns uint32) *View {
	view := &v.view
	*view = View{
		Event: event, Time: time, NetNS: netns,
		Line: append(view.Line[:0], event.String()...), Values: view.Values[:0],
	}
	return view
}

func (v *View) int(a declared.Attribute, n int64) {
	v.Values = append(v.Values, Value{Attribute: a, Int: n})
}

func (v *View) double(a declared.Attribute, n float64) {
	v.Values = append(v.Values, Value{Attribute: a, Kind: Double, Double: n})
}

func (v *View) constant(a declared.Attribute, text string) {
	v.Values = append(v.Values, Value{Attribute: a, Kind: Text, Text: text})
}

func (v *View) text(a declared.Attribute, begin, end int) {
	v.Values = append(v.Values, Value{Attribute: a, Kind: Text, Begin: begin, End: end})
}

// write appends a word to the line and returns its place.
func (v *View) write(text string) (begin, end int) {
	v.Line = append(v.Line, ' ')
	begin = len(v.Line)
	v.Line = append(v.Line, text...)
	return begin, len(v.Line)
}

// number appends name=n to the line.
func (v *View) number(name string, n uint64) {
	v.write(name)
	v.Line = strconv.AppendUint(append(v.Line, '='), n, 10)
}

// count leaves out what was not read.
func count[N uint32 | uint64](v *View, a declared.Attribute, n *N) {
	if n != nil {
		v.int(a, int64(*n))
	}
}
