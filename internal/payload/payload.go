// SPDX-License-Identifier: Apache-2.0

// Package payload turns the captured content of a message into what is exported: which
// content types are exported at all, content encodings, and the forms of the copy. Packets
// are never altered. No error and no String here contains a byte of content.
package payload

import (
	"bytes"
	"encoding/hex"
	"errors"
	"unicode/utf8"

	"github.com/ebpftcp/ebpftcpreceiver/internal/jsonscan"
)

// Form is what the exported copy looks like.
type Form uint8

// Forms.
const (
	// Raw is text as it is. Content that is no text is exported as bytes.
	Raw Form = iota
	// Hex is hexadecimal digits.
	Hex
	// Structured is JSON as maps, arrays and values.
	Structured
	// XML is JSON as XML.
	XML
	Forms
)

// String is the form's name in the configuration.
func (f Form) String() string {
	switch f {
	case Raw:
		return "raw"
	case Hex:
		return "hex"
	case Structured:
		return "structured"
	case XML:
		return "xml"
	default:
		return ""
	}
}

// ParseForm finds a form by its name.
func ParseForm(name string) (Form, bool) {
	for f := Raw; f < Forms; f++ {
		if f.String() == name {
			return f, true
		}
	}
	return 0, false
}

// Problem says why content has not the form that was asked for. Its String is a value of
// error.type. It is an error, unless it is ProblemNone.
type Problem uint8

// Problems.
const (
	ProblemNone Problem = iota
	// ProblemInvalid is content that is no JSON.
	ProblemInvalid
	// ProblemTruncated is JSON that ends inside its value, or was cut.
	ProblemTruncated
	// ProblemTooDeep is JSON nested deeper than its bound.
	ProblemTooDeep
	// ProblemTooLarge is JSON whose form would exceed its bound.
	ProblemTooLarge
	// ProblemEncoding is content that its content encoding does not describe.
	ProblemEncoding
	// ProblemRatio is content that expands beyond its bound, as a gzip bomb does.
	ProblemRatio
	Problems
)

func (p Problem) String() string {
	switch p {
	case ProblemInvalid:
		return "json_invalid"
	case ProblemTruncated:
		return "json_truncated"
	case ProblemTooDeep:
		return "json_too_deep"
	case ProblemTooLarge:
		return "json_too_large"
	case ProblemEncoding:
		return "content_encoding_invalid"
	case ProblemRatio:
		return "content_encoding_ratio"
	default:
		return ""
	}
}

func (p Problem) Error() string { return p.String() }

// problem is the Problem of a fault of the JSON text.
func problem(err error) Problem {
	var fault jsonscan.Fault
	switch {
	case err == nil:
		return ProblemNone
	case !errors.As(err, &fault):
		return ProblemInvalid
	case fault == jsonscan.Truncated:
		return ProblemTruncated
	case fault == jsonscan.TooDeep:
		return ProblemTooDeep
	default:
		return ProblemInvalid
	}
}

// Text returns content as text. It leaves out a last character that was cut. It returns
// false if the content is no text: it is not UTF-8, or it has control characters beside
// tabs and line ends.
func Text(content []byte, cut bool) ([]byte, bool) {
	if cut {
		content = trimPartial(content)
	}
	if bytes.ContainsFunc(content, isBinary) || !utf8.Valid(content) {
		return content, false
	}
	return content, true
}

func isBinary(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f
}

// trimPartial removes the bytes of a last character that is not complete.
func trimPartial(content []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(content); n++ {
		last := content[len(content)-n:]
		if utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return content[:len(content)-n]
			}
			break
		}
	}
	return content
}

// AppendHex appends the content as hexadecimal digits.
func AppendHex(to, content []byte) []byte { return hex.AppendEncode(to, content) }
