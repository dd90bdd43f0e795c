// SPDX-License-Identifier: Apache-2.0

// Package clean makes strings of other people's harmless. Names of interfaces,
// processes, files and hosts are bytes that others chose: one that is not UTF-8 makes
// strict receivers refuse the whole message it is in, a control character forges lines on
// a terminal, and one that changes the writing direction makes a name look like another.
// Whatever comes from outside passes String before it becomes telemetry.
package clean

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxBytes is the length of what String returns at most. The names that it is for have
// up to 255 bytes, before their characters are replaced.
const MaxBytes = 255

// ellipsis ends what was too long.
const ellipsis = "…"

// String returns s as UTF-8 of at most MaxBytes bytes. Each byte that is not UTF-8, and
// each character that is not a letter, mark, number, punctuation, symbol or an ordinary
// space, becomes U+FFFD: so do control characters, those that change the writing
// direction, those without a width, and separators of lines. What is too long is cut and
// ends with an ellipsis. A string that is clean is returned as it is.
func String(s string) string {
	if len(s) <= MaxBytes && isClean(s) {
		return s
	}
	return limit(replace(s))
}

// Text is String for text of several lines and any length, such as an error's: line feeds
// and tabs stay. It is for loggers and statuses, which escape both.
func Text(s string) string {
	if isCleanText(s) {
		return s
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		fields := strings.Split(line, "\t")
		for j, field := range fields {
			fields[j] = replace(field)
		}
		lines[i] = strings.Join(fields, "\t")
	}
	return strings.Join(lines, "\n")
}

func isClean(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return allPrint(s[i:])
		}
	}
	return true
}

func isCleanText(s string) bool {
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '\n' || r == '\t' }) {
		if !isClean(part) {
			return false
		}
	}
	return true
}

func allPrint(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

func replace(s string) string {
	// A range over a string gives U+FFFD for each byte that is not UTF-8.
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		if !unicode.IsPrint(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
	}
	return b.String()
}

func limit(s string) string {
	if len(s) <= MaxBytes {
		return s
	}
	end := MaxBytes - len(ellipsis)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}
