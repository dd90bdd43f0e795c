// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"unicode/utf8"

	"github.com/ebpftcp/ebpftcpreceiver/internal/jsonscan"
)

// Builder receives a JSON value in the order of its text. In a map, Key comes before each
// value. Bytes are only valid during the call, and they are UTF-8.
type Builder interface {
	BeginMap()
	Key(name []byte)
	EndMap()
	BeginArray()
	EndArray()
	String(text []byte)
	Int(i int64)
	Double(f float64)
	Bool(b bool)
	Null()
}

// Limits bound a form.
type Limits struct {
	// Depth is how many maps and arrays may be inside of each other. jsonscan.MaxDepth is the
	// most.
	Depth int
	// Values is how many values a structured form may have, maps and arrays included.
	Values int
	// Members is how many members an object of a structured form may have, because a map of OTLP
	// is filled by comparing each name with those before it. 0 is any number.
	Members int
	// Bytes is how large XML may be.
	Bytes int
}

// DefaultLimits suit content of up to 64 KiB.
func DefaultLimits() Limits {
	return Limits{Depth: 64, Values: 16 << 10, Bytes: 512 << 10}
}

// Notes say where a form differs from the content.
type Notes struct {
	// Replaced counts bytes and characters that became U+FFFD: invalid UTF-8, surrogates
	// without their other half, and characters that XML 1.0 forbids.
	Replaced int
	// Repeated counts names that an object had before. Structured gives them a suffix.
	Repeated int
	// Exact counts numbers that a structured form has as text, because an int64 or a double
	// would change them.
	Exact int
	// Mangled counts names that are no names of XML.
	Mangled int
}

// Transformer makes forms. It reuses its memory, and is not for concurrent use. Its zero
// value needs Limits.
type Transformer struct {
	Limits

	scan jsonscan.Scanner
	// text is a name or string with escapes resolved.
	text  []byte
	names names
	open  []element
}

// Structured gives JSON to a builder. It checks the whole text first: the builder is not
// called if there is a problem. cut says that the content lacks bytes.
//
// Integers beyond int64 become their exact text. So do numbers that a double would change,
// as 0.10000000000000000001 does. A name that its object had before gets the suffix #2,
// then #3, because a map of OTLP can't have it twice. Characters that XML 1.0 forbids become
// U+FFFD, so that both forms have the same text.
func (t *Transformer) Structured(content []byte, cut bool, b Builder) (Notes, Problem) {
	if p := t.Check(content, cut); p != ProblemNone {
		return Notes{}, p
	}
	var notes Notes
	t.names.reset()
	t.scan.Reset(content, t.Depth)
	for {
		kind, err := t.scan.Next()
		if err != nil {
			return Notes{}, problem(err)
		}
		switch kind {
		case jsonscan.ObjectBegin:
			t.names.open()
			b.BeginMap()
		case jsonscan.ObjectEnd:
			t.names.close()
			b.EndMap()
		case jsonscan.ArrayBegin:
			b.BeginArray()
		case jsonscan.ArrayEnd:
			b.EndArray()
		case jsonscan.Name:
			notes.Replaced += t.decode()
			var repeated bool
			if t.text, repeated = t.names.unique(t.text); repeated {
				notes.Repeated++
			}
			b.Key(t.text)
		case jsonscan.String:
			notes.Replaced += t.decode()
			b.String(t.text)
		case jsonscan.Number:
			if !putNumber(b, t.scan.Text()) {
				notes.Exact++
			}
		case jsonscan.True, jsonscan.False:
			b.Bool(kind == jsonscan.True)
		case jsonscan.Null:
			b.Null()
		default:
			return notes, ProblemNone
		}
	}
}

// Check reads the whole text, and tells what Structured would. cut says that the content
// lacks bytes.
func (t *Transformer) Check(content []byte, cut bool) Problem {
	if cut {
		return ProblemTruncated
	}
	t.scan.Reset(content, t.Depth)
	// members are those of the open objects.
	var members [jsonscan.MaxDepth + 1]int
	for values := 0; ; {
		kind, err := t.scan.Next()
		if err != nil {
			return problem(err)
		}
		depth := t.scan.Depth()
		switch kind {
		case jsonscan.End:
			return ProblemNone
		case jsonscan.ObjectEnd, jsonscan.ArrayEnd:
		case jsonscan.Name:
			if members[depth]++; t.Members > 0 && members[depth] > t.Members {
				return ProblemTooLarge
			}
		default:
			if kind == jsonscan.ObjectBegin {
				members[depth] = 0
			}
			if values++; values > t.Values {
				return ProblemTooLarge
			}
		}
	}
}

// decode resolves the last name or string into text. It returns how much it replaced.
func (t *Transformer) decode() (replaced int) {
	t.text = t.text[:0]
	for r, ok := range t.scan.Characters {
		if !ok || !isXMLCharacter(r) {
			r = utf8.RuneError
			replaced++
		}
		t.text = utf8.AppendRune(t.text, r)
	}
	return replaced
}
