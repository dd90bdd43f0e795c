// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// Selection is a list of content types.
type Selection struct {
	// all is set if every content is selected, also one without a type.
	all      bool
	patterns []mediaType
}

// mediaType is a content type or a pattern, in lower case.
type mediaType struct {
	// main is the type before the slash.
	main string
	// suffix is what a subtype ends with if any is set, or the whole subtype.
	suffix string
	any    bool
}

// maxMediaType is the length of a type or a subtype that RFC 6838 permits.
const maxMediaType = 127

// NewSelection compiles patterns: application/json, text/*, application/*+json, or */* for
// every content. The error names each pattern that is none.
func NewSelection(patterns []string) (*Selection, error) {
	s := &Selection{}
	var faults []error
	for _, text := range patterns {
		if text == "*/*" {
			s.all = true
			continue
		}
		p, err := parsePattern(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("%q: %w", text, err))
			continue
		}
		s.patterns = append(s.patterns, p)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return s, nil
}

func parsePattern(text string) (mediaType, error) {
	if strings.Contains(text, ";") {
		return mediaType{}, errors.New("parameters are ignored, so a pattern can't have any")
	}
	main, sub, ok := strings.Cut(strings.ToLower(text), "/")
	if !ok {
		return mediaType{}, errors.New("a content type has a slash, as in application/json")
	}
	p := mediaType{main: main}
	p.suffix, p.any = strings.CutPrefix(sub, "*")
	switch {
	case strings.Contains(main, "*"):
		return mediaType{}, errors.New("before the slash, * stands only in */*")
	case strings.Contains(p.suffix, "*") || p.any && p.suffix != "" && !strings.HasPrefix(p.suffix, "+"):
		return mediaType{}, errors.New("* stands for a whole subtype, or before a suffix such as +json")
	case !isToken(main) || !isToken(p.suffix) && !(p.any && p.suffix == "") || p.suffix == "+":
		return mediaType{}, errors.New("type and subtype are up to 127 letters, digits and !#$&-^_.+")
	}
	return p, nil
}

// isToken reports whether text can be a type or a subtype.
func isToken(text string) bool {
	for i := range len(text) {
		c := text[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$&-^_.+", c) >= 0) {
			return false
		}
	}
	return text != "" && len(text) <= maxMediaType
}

// Selects reports whether the value of a Content-Type field is in the list. Its parameters
// and the case of letters do not matter.
func (s *Selection) Selects(contentType []byte) bool {
	if s.all {
		return true
	}
	main, sub, ok := splitType(contentType)
	if !ok {
		return false
	}
	for i := range s.patterns {
		p := &s.patterns[i]
		if !request.EqualFold(main, p.main) || len(sub) < len(p.suffix) {
			continue
		}
		// Before a suffix is at least one character.
		rest := len(sub) - len(p.suffix)
		if (rest > 0) == p.any && request.EqualFold(sub[rest:], p.suffix) {
			return true
		}
	}
	return false
}

// IsJSON reports whether a Content-Type field says that the content is one JSON text.
func IsJSON(contentType []byte) bool {
	main, sub, ok := splitType(contentType)
	if !ok {
		return false
	}
	if n := len(sub) - len("+json"); n > 0 && request.EqualFold(sub[n:], "+json") {
		return true
	}
	return request.EqualFold(sub, "json") && (request.EqualFold(main, "application") || request.EqualFold(main, "text"))
}

// splitType returns type and subtype of a Content-Type field's value, without parameters.
func splitType(value []byte) (main, sub []byte, ok bool) {
	value, _, _ = bytes.Cut(value, []byte{';'})
	main, sub, ok = bytes.Cut(bytes.Trim(value, " \t"), []byte{'/'})
	return main, sub, ok && len(main) > 0 && len(sub) > 0
}
