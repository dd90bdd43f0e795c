// SPDX-License-Identifier: Apache-2.0

// Package jsonscan reads JSON text as RFC 8259 defines it, one token after the other, in
// place and without allocations.
//
// encoding/json.Decoder.Token accepts the same documents, but does not suffice. It replaces
// invalid UTF-8 and lone surrogates silently, where we count them. It allocates for most
// tokens, and takes about 25 times as long (BenchmarkScanner). It can't begin inside a
// document, as the end of a long answer does.
package jsonscan

import "bytes"

// Kind is the kind of a token.
type Kind uint8

// Kinds of tokens.
const (
	// None is the kind beside an error.
	None Kind = iota
	// End follows the document's value and the white space behind it.
	End
	ObjectBegin
	ObjectEnd
	ArrayBegin
	ArrayEnd
	// Name is the name of an object's member. Its value is the next token.
	Name
	String
	Number
	True
	False
	Null
)

// Fault says why a text is no JSON. It is an error.
type Fault uint8

// Faults.
const (
	// Invalid is a text that breaks the grammar.
	Invalid Fault = iota + 1
	// Truncated is a text that ends inside its value.
	Truncated
	// TooDeep is a value inside more arrays and objects than permitted.
	TooDeep
)

func (f Fault) Error() string {
	switch f {
	case Truncated:
		return "the JSON text ends inside its value"
	case TooDeep:
		return "the JSON text is nested too deep"
	default:
		return "invalid JSON"
	}
}

// MaxDepth is the greatest bound of depth that a Scanner takes.
const MaxDepth = 256

// state is what the grammar permits next.
type state uint8

const (
	wantValue state = iota
	// wantFirstValue and wantFirstName follow an opening bracket, so that a closing one may
	// come.
	wantFirstValue
	wantFirstName
	wantName
	// wantComma follows a value inside of an array or object.
	wantComma
	// wantEnd follows the document's value.
	wantEnd
)

// byteOrderMark may precede the text. RFC 8259 permits to ignore it.
const byteOrderMark = "\xef\xbb\xbf"

// Scanner reads a text. Its zero value needs Reset.
type Scanner struct {
	text  []byte
	at    int
	state state
	depth int
	bound int
	// arrays has a bit for each open bracket, set if it is an array's.
	arrays [MaxDepth / 64]uint64
	// token is the text of the last token. That of strings has no quotes.
	token []byte
	start int
	// plain is set if the last string is exactly its text.
	plain bool
	fault Fault
}

// Reset begins with a text. Values may be inside at most depth arrays and objects.
func (s *Scanner) Reset(text []byte, depth int) {
	*s = Scanner{text: text, bound: min(max(depth, 0), MaxDepth)}
	if bytes.HasPrefix(text, []byte(byteOrderMark)) {
		s.at = len(byteOrderMark)
	}
}

// ResetInside begins with the rest of a text, at the name of an object's member. The
// brackets around it, from the outermost to that object, are ObjectBegin or ArrayBegin. The
// rest is well-formed only if it closes them all.
func (s *Scanner) ResetInside(rest []byte, depth int, brackets ...Kind) {
	*s = Scanner{text: rest, bound: min(max(depth, len(brackets)), MaxDepth), state: wantName}
	for _, kind := range brackets[:min(len(brackets), MaxDepth)] {
		s.push(kind)
	}
}

// AtEnd reports whether the last token ends with the text. A number may then be cut.
func (s *Scanner) AtEnd() bool { return s.at == len(s.text) }

// Depth is the number of arrays and objects that are open after the last token.
func (s *Scanner) Depth() int { return s.depth }

// Offset is where the last token begins in the text.
func (s *Scanner) Offset() int { return s.start }

// Text is the last token as it stands in the text. That of names and strings has no quotes,
// and its escapes are not resolved.
func (s *Scanner) Text() []byte { return s.token }

// Next reads a token. After an error or End it returns the same again.
func (s *Scanner) Next() (Kind, error) {
	if s.fault != 0 {
		return None, s.fault
	}
	kind := s.next()
	if kind == None {
		s.token = nil
		return None, s.fault
	}
	return kind, nil
}

func (s *Scanner) next() Kind {
	c, ok := s.skip()
	if s.state == wantComma {
		switch {
		case !ok:
			return s.fail(Truncated)
		case c == ',':
			s.at++
			s.state = wantName
			if s.inArray() {
				s.state = wantValue
			}
			c, ok = s.skip()
		default:
			return s.closing(c)
		}
	}
	s.start = s.at
	switch {
	case s.state == wantEnd && !ok:
		s.token = nil
		return End
	case s.state == wantEnd:
		return s.fail(Invalid)
	case !ok:
		return s.fail(Truncated)
	case s.state == wantFirstName && c == '}' || s.state == wantFirstValue && c == ']':
		return s.closing(c)
	case s.state == wantFirstName || s.state == wantName:
		return s.name(c)
	default:
		return s.value(c)
	}
}

// fail ends the scan.
func (s *Scanner) fail(f Fault) Kind {
	s.fault = f
	return None
}

// skip passes white space and returns the next byte, or false at the end.
func (s *Scanner) skip() (byte, bool) {
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c, true
		}
	}
	return 0, false
}

func (s *Scanner) inArray() bool {
	at := s.depth - 1
	return s.arrays[at/64]&(1<<(at%64)) != 0
}

func (s *Scanner) open(kind Kind, next state) Kind {
	if s.depth >= s.bound {
		return s.fail(TooDeep)
	}
	s.push(kind)
	s.take(1)
	s.state = next
	return kind
}

func (s *Scanner) push(kind Kind) {
	bit := uint64(1) << (s.depth % 64)
	s.arrays[s.depth/64] &^= bit
	if kind == ArrayBegin {
		s.arrays[s.depth/64] |= bit
	}
	s.depth++
}

func (s *Scanner) closing(c byte) Kind {
	kind, want := ObjectEnd, byte('}')
	if s.inArray() {
		kind, want = ArrayEnd, ']'
	}
	if c != want {
		return s.fail(Invalid)
	}
	s.start = s.at
	s.take(1)
	s.depth--
	s.after()
	return kind
}

// after sets the state behind a value.
func (s *Scanner) after() {
	s.state = wantComma
	if s.depth == 0 {
		s.state = wantEnd
	}
}

// take makes the next n bytes the token.
func (s *Scanner) take(n int) {
	s.token = s.text[s.at : s.at+n]
	s.at += n
}

func (s *Scanner) name(c byte) Kind {
	if c != '"' {
		return s.fail(Invalid)
	}
	if !s.string() {
		return None
	}
	token := s.token
	c, ok := s.skip()
	switch {
	case !ok:
		return s.fail(Truncated)
	case c != ':':
		return s.fail(Invalid)
	}
	s.at++
	s.token, s.state = token, wantValue
	return Name
}

func (s *Scanner) value(c byte) Kind {
	switch c {
	case '{':
		return s.open(ObjectBegin, wantFirstName)
	case '[':
		return s.open(ArrayBegin, wantFirstValue)
	case '"':
		if !s.string() {
			return None
		}
		s.after()
		return String
	case 't':
		return s.literal("true", True)
	case 'f':
		return s.literal("false", False)
	case 'n':
		return s.literal("null", Null)
	default:
		return s.number()
	}
}

func (s *Scanner) literal(word string, kind Kind) Kind {
	rest := s.text[s.at:]
	n := min(len(rest), len(word))
	switch {
	case string(rest[:n]) != word[:n]:
		return s.fail(Invalid)
	case n < len(word):
		return s.fail(Truncated)
	}
	s.take(n)
	s.after()
	return kind
}

// number reads a number. One that ends with the text is whole: only the caller knows
// whether the text was cut.
func (s *Scanner) number() Kind {
	at := s.at
	if s.text[at] == '-' {
		at++
	}
	begin := at
	at = s.digits(at)
	if at-begin > 1 && s.text[begin] == '0' {
		return s.fail(Invalid)
	}
	if at == begin {
		return s.missing(at)
	}
	if at < len(s.text) && s.text[at] == '.' {
		begin = at + 1
		if at = s.digits(begin); at == begin {
			return s.missing(at)
		}
	}
	if at < len(s.text) && (s.text[at] == 'e' || s.text[at] == 'E') {
		at++
		if at < len(s.text) && (s.text[at] == '+' || s.text[at] == '-') {
			at++
		}
		begin = at
		if at = s.digits(begin); at == begin {
			return s.missing(at)
		}
	}
	s.take(at - s.at)
	s.after()
	return Number
}

func (s *Scanner) digits(at int) int {
	for at < len(s.text) && '0' <= s.text[at] && s.text[at] <= '9' {
		at++
	}
	return at
}

// missing fails because a digit is not where it must be.
func (s *Scanner) missing(at int) Kind {
	if at == len(s.text) {
		return s.fail(Truncated)
	}
	return s.fail(Invalid)
}
