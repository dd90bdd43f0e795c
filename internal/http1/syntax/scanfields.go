// SPDX-License-Identifier: Apache-2.0

package syntax

import (
	"bytes"
	"math"
)

// lineState is where in the fields of a head a fieldScan is.
type lineState uint8

const (
	// atLine is the beginning of a line, afterField that of one that can continue a value.
	atLine lineState = iota
	afterField
	// inFold is the white space before what may continue a value.
	inFold
	inName
	inValue
	// inOther is the rest of a line that is no field.
	inOther
)

// frameField is a field that says where the body ends, or what the server does.
type frameField uint8

const (
	noField frameField = iota
	contentLength
	transferEncoding
	expect
	upgrade
)

// framing is what fields say about the end of a body.
type framing struct {
	size                           int64
	sized, encoded, chunked, badly bool
}

// fieldScan reads fields in the pieces that they come in, as Head does.
type fieldScan struct {
	framing
	state lineState
	field frameField
	// at are the bytes of the name that fit, or of the word of a value.
	at uint8
	// named: the name has begun. blank: white space follows it.
	named, blank bool
	value        valueScan
	upgrade      bool
	expect       bool
}

// fill writes what the fields say. A value under way ends here.
func (s *fieldScan) fill(h *Head) {
	s.end()
	s.state = inOther
	h.Upgrade, h.Expect = s.upgrade, s.expect
	switch h.Framing = UntilClose; {
	case s.chunked:
		h.Framing = Chunked
	case s.encoded:
	case s.badly:
		h.Framing = Invalid
	case s.sized && s.size == 0:
		h.Framing = None
	case s.sized:
		h.Framing, h.Size = Length, s.size
	}
}

func (s *fieldScan) read(data []byte) {
	for len(data) > 0 {
		switch s.state {
		case inOther:
			data = s.skip(data, atLine)
		case inValue:
			if s.field != contentLength && s.field != transferEncoding {
				data = s.skip(data, afterField)
				continue
			}
			s.inValue(data[0])
			data = data[1:]
		default:
			s.step(data[0])
			data = data[1:]
		}
	}
}

// skip passes over the rest of a line.
func (s *fieldScan) skip(data []byte, next lineState) []byte {
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		return nil
	}
	s.state = next
	return data[end+1:]
}

func (s *fieldScan) inValue(c byte) {
	if c == '\n' {
		s.state = afterField
		return
	}
	s.value.read(s.field, c)
}

// step reads a byte at the beginning of a line, or of a name.
func (s *fieldScan) step(c byte) {
	switch {
	case s.state == inName:
		s.name(c)
	case s.state == afterField && isSpace(c):
		s.state = inFold
	case s.state == inFold && (isSpace(c) || c == '\r'):
	case s.state == inFold && c == '\n':
		s.end()
		s.state = atLine
	case s.state == inFold:
		s.state = inValue
		s.value.read(s.field, '\n')
		s.value.read(s.field, c)
	case s.state == afterField:
		s.end()
		s.begin(c)
	default:
		s.begin(c)
	}
}

// begin reads the first byte of a line.
func (s *fieldScan) begin(c byte) {
	switch c {
	case '\n':
		s.state = atLine
	case ':':
		s.state = inOther
	default:
		s.state, s.field, s.at, s.named, s.blank = inName, noField, 0, false, false
		s.name(c)
	}
}

// names are those of the fields, by frameField.
var names = [...]string{noField: "", contentLength: "content-length", transferEncoding: "transfer-encoding", expect: "expect", upgrade: "upgrade"}

func (s *fieldScan) name(c byte) {
	switch {
	case c == '\n':
		s.state = atLine
	case c == ':':
		s.colon()
	case isSpace(c) && !s.named:
	case isSpace(c) || c == '\r':
		s.blank = true
		s.named = true
	default:
		s.letter(lower(c))
	}
}

func (s *fieldScan) letter(c byte) {
	if !s.named && !s.blank {
		s.named = true
		for field, name := range names {
			if field > 0 && name[0] == c {
				s.field, s.at = frameField(field), 1
			}
		}
		return
	}
	if name := names[s.field]; s.blank || int(s.at) >= len(name) || name[s.at] != c {
		s.field = noField
		return
	}
	s.at++
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// colon ends a name.
func (s *fieldScan) colon() {
	if int(s.at) < len(names[s.field]) {
		s.field = noField
	}
	s.state, s.value = inValue, valueScan{}
	s.upgrade = s.upgrade || s.field == upgrade
	s.expect = s.expect || s.field == expect
}

// end ends a value.
func (s *fieldScan) end() {
	if s.state == inName || s.state == inOther || s.state == atLine {
		return
	}
	switch v := &s.value; s.field {
	case contentLength:
		v.comma()
		s.badly = s.badly || v.bad || s.sized && v.lengths && s.size != v.size
		s.size, s.sized = v.size, s.sized || v.lengths
	case transferEncoding:
		if v.listed || v.word() != "identity" {
			s.encoded, s.chunked = true, v.word() == "chunked"
		}
	}
	s.field = noField
}

// valueScan reads the value of a field.
type valueScan struct {
	// number and at are what came of the present word, size is the last number of the list.
	number, size int64
	at           uint8
	coding       uint8
	// begun and ended: the present word. bad: no list of equal lengths. lengths: size is one.
	// listed: a comma came.
	begun, ended, bad, lengths, listed bool
}

func (v *valueScan) read(field frameField, c byte) {
	switch {
	case c == ',' && field == contentLength:
		v.comma()
	case c == ',':
		*v = valueScan{listed: true}
	case isSpace(c) && !v.begun:
	case isSpace(c) || c == '\r' || c == '\n':
		v.bad = v.bad || !v.begun
		v.begun, v.ended = true, true
	case v.ended:
		v.bad = true
		v.begun = true
	case field == contentLength:
		v.digit(c)
	default:
		v.letter(lower(c))
	}
}

func (v *valueScan) digit(c byte) {
	if v.begun = true; !isDigit(c) || v.number > (math.MaxInt64-9)/10 {
		v.bad = true
		return
	}
	v.number = v.number*10 + int64(c-'0')
}

// comma ends a number of a list.
func (v *valueScan) comma() {
	v.bad = v.bad || !v.begun || v.lengths && v.number != v.size
	v.size, v.lengths = v.number, true
	v.number, v.begun, v.ended = 0, false, false
}

// codings are the words that a list of encodings can end with.
var codings = [...]string{"chunked", "identity"}

func (v *valueScan) letter(c byte) {
	if !v.begun {
		v.begun = true
		for i, name := range codings {
			if name[0] == c {
				v.coding, v.at = uint8(i), 1
			}
		}
		v.bad = v.at == 0
		return
	}
	if name := codings[v.coding]; int(v.at) >= len(name) || name[v.at] != c {
		v.bad = true
		return
	}
	v.at++
}

// word is the last encoding of a list; "" if it is another.
func (v *valueScan) word() string {
	if name := codings[v.coding]; !v.bad && int(v.at) == len(name) {
		return name
	}
	return ""
}
