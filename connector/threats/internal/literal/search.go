// SPDX-License-Identifier: Apache-2.0

package literal

import (
	"slices"
	"strings"
)

// MaxFound is how many different strings of a text are found at most.
const MaxFound = 16

// Search appends the strings that a text has to those that were found before, each once.
func (s *Set) Search(text string, found []int32) []int32 {
	at := int32(0)
	for i := range len(text) {
		at = s.next[int(at)*s.classes+int(s.class[text[i]])]
		if s.match[at] >= 0 || s.shorter[at] >= 0 {
			found = s.collect(at, found)
		}
	}
	return found
}

// SearchDecoded is Search in what %XX and + of a query stand for. It decodes once.
func (s *Set) SearchDecoded(text string, found []int32) []int32 {
	if strings.IndexByte(text, '%') < 0 && strings.IndexByte(text, '+') < 0 {
		return found
	}
	at := int32(0)
	for i := 0; i < len(text); i++ {
		b := text[i]
		if b == '+' {
			b = ' '
		} else if b == '%' && i+2 < len(text) {
			high, low := digit(text[i+1]), digit(text[i+2])
			if high >= 0 && low >= 0 {
				b = byte(high<<4 | low)
				i += 2
			}
		}
		at = s.next[int(at)*s.classes+int(s.class[b])]
		if s.match[at] >= 0 || s.shorter[at] >= 0 {
			found = s.collect(at, found)
		}
	}
	return found
}

func digit(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b|0x20 && b|0x20 <= 'f':
		return int(b|0x20-'a') + 10
	}
	return -1
}

func (s *Set) collect(at int32, found []int32) []int32 {
	for at >= 0 {
		if m := s.match[at]; m >= 0 && len(found) < MaxFound && !slices.Contains(found, m) {
			found = append(found, m)
		}
		at = s.shorter[at]
	}
	return found
}
