// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
)

var (
	// A span of code is one word, whatever is in it.
	codeSpan   = regexp.MustCompile("``[^`]+``|`[^`]+`")
	link       = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	comment    = regexp.MustCompile(`(?s)<!--.*?-->`)
	listMarker = regexp.MustCompile(`^\s*(?:[-*+]|\d+\.)\s+`)
	rule       = regexp.MustCompile(`^\s*\|?[\s|:-]+\|?\s*$`)
)

// codeWord stands for a span of code. It can begin a sentence.
const codeWord = "Code"

// markdown returns the paragraphs, headings, list items and table cells of a document.
func markdown(text string) []passage {
	var all []passage
	var current []string
	begun := 0
	finish := func() {
		if len(current) > 0 {
			all = append(all, passage{begun, strip(strings.Join(current, " "))})
			current = nil
		}
	}
	fenced := false
	inList := false
	for i, line := range strings.Split(blank(text), "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			fenced = !fenced
			finish()
		case fenced:
		case trimmed == "":
			finish()
		case strings.HasPrefix(line, "    ") && len(current) == 0 && !inList: // a block of code
		case strings.HasPrefix(trimmed, "#"):
			finish()
			inList = false
			all = append(all, passage{i + 1, strip(strings.TrimLeft(trimmed, "# "))})
		case strings.HasPrefix(trimmed, "|"):
			finish()
			for _, cell := range cells(trimmed) {
				all = append(all, passage{i + 1, strip(cell)})
			}
		default:
			marker := listMarker.FindString(line)
			if marker != "" {
				finish()
				inList = true
			} else if !strings.HasPrefix(line, " ") && len(current) == 0 {
				inList = false
			}
			if len(current) == 0 {
				begun = i + 1
			}
			current = append(current, strings.TrimSpace(strings.TrimPrefix(line, marker)))
		}
	}
	finish()
	return all
}

// blank removes comments and keeps their lines.
func blank(text string) string {
	return comment.ReplaceAllStringFunc(text, func(c string) string {
		return strings.Repeat("\n", strings.Count(c, "\n"))
	})
}

// cells splits a row of a table. The rule below the head has none.
func cells(row string) []string {
	if rule.MatchString(row) {
		return nil
	}
	// A span of code may contain the separator.
	row = codeSpan.ReplaceAllString(row, codeWord)
	return strings.Split(strings.Trim(row, "|"), "|")
}

// strip leaves the words that a reader reads.
func strip(text string) string {
	text = codeSpan.ReplaceAllString(text, codeWord)
	text = link.ReplaceAllString(text, "$1")
	return strings.NewReplacer("**", "", "__", "").Replace(strings.TrimSpace(text))
}
