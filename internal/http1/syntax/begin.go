// SPDX-License-Identifier: Apache-2.0

package syntax

// Blank counts the line breaks before a message.
func Blank(data []byte) int {
	n := 0
	for n < len(data) && (data[n] == '\r' || data[n] == '\n') {
		n++
	}
	return n
}

// MayAnswer reports whether what came before and data can begin an answer.
func MayAnswer(before, data []byte) bool {
	const word = "HTTP/"
	if len(before) >= len(word) {
		return true
	}
	n := min(len(data), len(word)-len(before))
	return string(data[:n]) == word[len(before):len(before)+n]
}

// IsInterim reports whether a segment has an answer that is not the last.
func IsInterim(data []byte) bool {
	return len(data) > 9 && string(data[:5]) == "HTTP/" && data[9] == '1'
}
