// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// maxWords is the length of a sentence beyond which a reader has to start again.
const maxWords = 30

// phrase is a way of writing that readers stumble over.
type phrase struct {
	pattern *regexp.Regexp
	instead string
}

func words(pattern, instead string) phrase {
	return phrase{regexp.MustCompile(`(?i)\b(?:` + pattern + `)\b`), instead}
}

// phrases returns what is not written here, and what is written instead.
func phrases() []phrase {
	return []phrase{
		words(`to be had|be had|was had`, "available, supported"),
		words(`looks? at|looked at|looking at`, "observe, read, watch"),
		words(`(?:is|are|was|were|be) told|told of|tells of|told by`, "reported, logged, known by"),
		words(`anew`, "again"),
		words(`as ever`, "still, as before"),
		words(`in vain`, "has no effect, fails"),
		words(`what became of|what becomes of`, "name the result"),
		words(`learnt`, "learned, found"),
		words(`somebody`, "name the process or user"),
		words(`from now on`, "no longer, from then on"),
		words(`going on without|goes on without`, "proceeding without"),
		words(`for (?:it|they|there|one|that|these|those) (?:is|are|was|were|has|have|had|may|can|does|do|would)`, "because"),
		// A clause as a subject hides who does what.
		{regexp.MustCompile(`^(?:Who|Whose)\b[^?]*\b(?:is|are|was|were|gets?|must|has to)\b[^?]*$`), "begin with the subject"},
		words(`(?:it|that|this) is that|such is`, "say it directly"),
	}
}

// judge returns the faults of a passage.
func judge(text string) []string {
	var faults []string
	for _, sentence := range sentences(text) {
		if n := count(sentence); n > maxWords {
			faults = append(faults, fmt.Sprintf("%d words, at most %d: %s", n, maxWords, beginning(sentence)))
		}
		for _, p := range phrases() {
			if found := p.pattern.FindString(sentence); found != "" {
				faults = append(faults, fmt.Sprintf("%q: write instead: %s", beginning(found), p.instead))
			}
		}
	}
	return faults
}

// sentences splits a passage after a full stop, a question mark or an exclamation mark
// that a blank and no small letter follow.
func sentences(text string) []string {
	var all []string
	fields := strings.Fields(text)
	start := 0
	for i, field := range fields {
		end := strings.TrimRight(field, `)"'*_`)
		if !strings.HasSuffix(end, ".") && !strings.HasSuffix(end, "?") && !strings.HasSuffix(end, "!") {
			continue
		}
		if i+1 < len(fields) && beginsSmall(fields[i+1]) {
			continue
		}
		all = append(all, strings.Join(fields[start:i+1], " "))
		start = i + 1
	}
	if start < len(fields) {
		all = append(all, strings.Join(fields[start:], " "))
	}
	return all
}

func beginsSmall(word string) bool {
	for _, r := range word {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.IsLower(r)
		}
	}
	return false
}

// count returns the number of words, not counting punctuation.
func count(sentence string) int {
	n := 0
	for field := range strings.FieldsSeq(sentence) {
		if strings.ContainsFunc(field, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			n++
		}
	}
	return n
}

// beginning is enough of a sentence to find it.
func beginning(sentence string) string {
	fields := strings.Fields(sentence)
	if len(fields) <= 8 {
		return sentence
	}
	return strings.Join(fields[:8], " ") + " …"
}
