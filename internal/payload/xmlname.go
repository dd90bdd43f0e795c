// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"strconv"
	"unicode/utf8"

	"github.com/ebpftcp/ebpftcpreceiver/internal/jsonscan"
)

// maxElementName is the greatest length of an element's name in bytes.
const maxElementName = 256

// mangle writes the last name as the name of an element, and reports whether they differ.
//
// A character that can't stand there becomes _xHHHH_, its number in hexadecimal. So does
// an underscore before an x. An empty name becomes _x_. A name that would be longer than
// maxElementName becomes _xlong-N, where N is its place in the text. So different names of
// one text are never mangled to the same one, and all but the longest can be read back.
func (w *xmlWriter) mangle(scan *jsonscan.Scanner) bool {
	start := len(w.out)
	mangled, underscore := false, false
	for r, ok := range scan.Characters {
		if !ok {
			r = utf8.RuneError
		}
		// The underscore before is written by now. It has to be escaped if an x follows.
		if underscore && r == 'x' {
			w.out = w.out[:len(w.out)-1]
			w.escape('_')
			mangled = true
		}
		first := len(w.out) == start
		underscore = r == '_'
		if isNameCharacter(r, first) && !(first && beginsReserved(scan)) {
			w.out = utf8.AppendRune(w.out, r)
		} else {
			w.escape(r)
			mangled = true
		}
		if len(w.out)-start > maxElementName {
			w.out = strconv.AppendInt(append(w.out[:start], "_xlong-"...), int64(scan.Offset()), 10)
			return true
		}
	}
	if len(w.out) == start {
		w.put("_x_")
		return true
	}
	return mangled
}

// escape writes a character of a name as its number.
func (w *xmlWriter) escape(r rune) {
	const digits = "0123456789ABCDEF"
	w.put("_x")
	for shift := 20; shift >= 0; shift -= 4 {
		if shift < 16 || r>>shift != 0 {
			w.out = append(w.out, digits[r>>shift&0xf])
		}
	}
	w.put("_")
}

// beginsReserved reports whether the last name begins with xml, which is reserved.
func beginsReserved(scan *jsonscan.Scanner) bool {
	const reserved = "xml"
	at := 0
	for r := range scan.Characters {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		if r != rune(reserved[at]) {
			return false
		}
		if at++; at == len(reserved) {
			return true
		}
	}
	return false
}

// isNameCharacter reports whether a character may stand in the name of an element, or
// begin it. It permits less than XML does: no colon, and beyond ASCII only letters that all
// editions of XML 1.0 permit, of the scripts that names are commonly written in.
func isNameCharacter(r rune, first bool) bool {
	switch {
	case 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '_':
		return true
	case r < utf8.RuneSelf:
		return !first && ('0' <= r && r <= '9' || r == '-' || r == '.')
	case r < 0x370: // Latin
		return 0xc0 <= r && r <= 0x131 && r != 0xd7 && r != 0xf7 ||
			0x134 <= r && r <= 0x13e || 0x141 <= r && r <= 0x148 || 0x14a <= r && r <= 0x17e
	case r < 0x530: // Greek, Cyrillic
		return 0x391 <= r && r <= 0x3ce && r != 0x3a2 || 0x410 <= r && r <= 0x44f
	case r < 0x3400: // Hebrew, Arabic, Kana
		return 0x5d0 <= r && r <= 0x5ea || 0x621 <= r && r <= 0x63a ||
			0x3041 <= r && r <= 0x3094 || 0x30a1 <= r && r <= 0x30fa
	default: // Han, Hangul
		return 0x4e00 <= r && r <= 0x9fa5 || 0xac00 <= r && r <= 0xd7a3
	}
}
