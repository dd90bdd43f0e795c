// SPDX-License-Identifier: Apache-2.0

package route

import "bytes"

// Bounds of segments that do not vary.
const (
	maxFixed = 40
	// maxDigits is how many digits a word can have, such as sha256.
	maxDigits = 3
	// minHex is the length of a hexadecimal key with a digit, minLongHex that of one without,
	// minMixed that of a key with digits and letters of both cases.
	minHex     = 8
	minLongHex = 16
	minMixed   = 10
)

// varies reports whether a segment looks like a number, a key or a value rather than a word:
// numbers, UUIDs, long hexadecimal and base64 text, escapes, what is redacted.
func varies(segment []byte) bool {
	if len(segment) > maxFixed || bytes.Contains(segment, []byte("REDACTED")) {
		return true
	}
	var digits, hex, upper, lower int
	for _, c := range segment {
		switch {
		case '0' <= c && c <= '9':
			digits++
			hex++
		case 'a' <= c && c <= 'z':
			lower++
			if c <= 'f' {
				hex++
			}
		case 'A' <= c && c <= 'Z':
			upper++
			if c <= 'F' {
				hex++
			}
		case c == '-' || c == '.' || c == '_' || c == '~' || c == ':':
		default:
			return true
		}
	}
	switch {
	case digits > maxDigits, digits > 0 && upper+lower == 0:
		return true
	case hex == len(segment) && (len(segment) >= minLongHex || digits > 0 && len(segment) >= minHex):
		return true
	default:
		return isUUID(segment, hex) || digits > 0 && upper > 0 && lower > 0 && len(segment) >= minMixed
	}
}

// isUUID knows the form of 8-4-4-4-12 digits, of which hex are hexadecimal.
func isUUID(s []byte, hex int) bool {
	return len(s) == 36 && hex == 32 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-'
}
