// SPDX-License-Identifier: Apache-2.0

package jsonscan

import (
	"unicode/utf16"
	"unicode/utf8"
)

// string reads a string, whose opening quote is next.
func (s *Scanner) string() bool {
	s.plain = true
	for at := s.at + 1; at < len(s.text); at++ {
		switch c := s.text[at]; {
		case c == '"':
			s.token = s.text[s.at+1 : at]
			s.at = at + 1
			return true
		case c < ' ':
			s.fail(Invalid)
			return false
		case c == '\\':
			n := s.escape(at + 1)
			if n == 0 {
				return false
			}
			s.plain = false
			at += n
		case c >= utf8.RuneSelf:
			s.plain = false
		}
	}
	s.fail(Truncated)
	return false
}

// escape returns the length of an escape without its backslash; 0 if it is a fault.
func (s *Scanner) escape(at int) int {
	if at >= len(s.text) {
		s.fail(Truncated)
		return 0
	}
	switch s.text[at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1
	case 'u':
		for i := 1; i <= 4; i++ {
			if at+i >= len(s.text) {
				s.fail(Truncated)
				return 0
			}
			if _, ok := hexDigit(s.text[at+i]); !ok {
				s.fail(Invalid)
				return 0
			}
		}
		return 5
	default:
		s.fail(Invalid)
		return 0
	}
}

// Append appends the last name or string as valid UTF-8. It returns how many bytes and
// surrogates it replaced with U+FFFD, because no character has them.
func (s *Scanner) Append(to []byte) (text []byte, replaced int) {
	if s.plain {
		return append(to, s.token...), 0
	}
	for r, ok := range s.Characters {
		to = utf8.AppendRune(to, r)
		if !ok {
			replaced++
		}
	}
	return to, replaced
}

// Characters yields those of the last name or string. A byte or surrogate that belongs to
// no character yields U+FFFD and false.
func (s *Scanner) Characters(yield func(r rune, ok bool) bool) {
	for at := 0; at < len(s.token); {
		r, n, ok := character(s.token[at:])
		if !yield(r, ok) {
			return
		}
		at += n
	}
}

// character decodes the first character of the text of a valid string, which is not empty.
func character(text []byte) (r rune, n int, ok bool) {
	switch {
	case text[0] < utf8.RuneSelf && text[0] != '\\':
		return rune(text[0]), 1, true
	case text[0] != '\\':
		r, n = utf8.DecodeRune(text)
		return r, n, r != utf8.RuneError || n > 1
	case text[1] != 'u':
		return escaped(text[1]), 2, true
	}
	r = unit(text[2:6])
	if !utf16.IsSurrogate(r) {
		return r, 6, true
	}
	if len(text) >= 12 && text[6] == '\\' && text[7] == 'u' {
		if pair := utf16.DecodeRune(r, unit(text[8:12])); pair != utf8.RuneError {
			return pair, 12, true
		}
	}
	return utf8.RuneError, 6, false
}

func escaped(c byte) rune {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	default:
		return rune(c)
	}
}

// unit is the UTF-16 code unit of four hexadecimal digits.
func unit(digits []byte) rune {
	var r rune
	for _, c := range digits {
		d, _ := hexDigit(c)
		r = r<<4 | d
	}
	return r
}

func hexDigit(c byte) (rune, bool) {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0'), true
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10, true
	default:
		return 0, false
	}
}
