// SPDX-License-Identifier: Apache-2.0

// Package clean makes strings from outside harmless. Others choose the names of
// interfaces, processes, files and hosts. One invalid byte makes strict receivers refuse a
// whole message. Control characters forge lines on a terminal, and characters that change
// the writing direction make one name look like another. Every string from outside passes
// String before it becomes telemetry.
package clean

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxBytes is the greatest length that String returns. Its inputs are names of up to 255
// bytes, before characters are replaced.
const MaxBytes = 255

// ellipsis ends a string that was cut.
const ellipsis = "…"

// String returns s as UTF-8 of at most MaxBytes bytes. Each byte that is not UTF-8 becomes
// U+FFFD. So does each character that is not a letter, mark, number, punctuation, symbol
// or ordinary space. These are control characters, line separators, and characters that
// change the writing direction or have no width. A longer string is cut and ends with an
// ellipsis. A clean string is returned unchanged.
func String(s string) string {
	if len(s) <= MaxBytes && isClean(s) {
		return s
	}
	return limit(replace(s))
}

// Text is String for text of several lines and any length, such as an error's. Line feeds
// and tabs stay, because loggers and statuses escape both.
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

// Append appends text of any kind, cleaned like String, with at most limit bytes.
func Append(to, text []byte, limit int) []byte {
	begin := len(to)
	// Each byte becomes at least one. So what is cut here would be cut anyway.
	cut := len(text) > limit
	if cut {
		text = text[:limit]
	}
	for i := 0; i < len(text); {
		if c := text[i]; ' ' <= c && c <= '~' {
			to = append(to, c)
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if !unicode.IsPrint(r) {
			r = utf8.RuneError
		}
		to = utf8.AppendRune(to, r)
		i += size
	}
	if !cut && len(to)-begin <= limit {
		return to
	}
	end := min(len(to), begin+limit-len(ellipsis))
	for end > begin && !utf8.RuneStart(to[end]) {
		end--
	}
	return append(to[:end], ellipsis...)
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
	// A range over a string yields U+FFFD for each byte that is not UTF-8.
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
