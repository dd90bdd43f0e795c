// SPDX-License-Identifier: Apache-2.0

package privacy

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
)

// Bounds of the user's patterns. Matching takes time in proportion to their number.
const (
	maxPatterns    = 64
	maxPatternSize = 512
)

// pattern is a user's regular expression.
type pattern struct {
	match *regexp.Regexp
	// begun matches what is at the end of a text and may be the beginning of a match.
	begun *regexp.Regexp
}

func compilePatterns(expressions []string) ([]pattern, error) {
	if len(expressions) > maxPatterns {
		return nil, fmt.Errorf("patterns: %d are more than %d", len(expressions), maxPatterns)
	}
	var compiled []pattern
	var errs []error
	for i, expression := range expressions {
		p, err := compilePattern(expression)
		if err != nil {
			errs = append(errs, fmt.Errorf("patterns: entry %d: %w", i, err))
		}
		compiled = append(compiled, p)
	}
	return compiled, errors.Join(errs...)
}

func compilePattern(expression string) (pattern, error) {
	if len(expression) > maxPatternSize {
		return pattern{}, fmt.Errorf("its %d bytes are more than %d", len(expression), maxPatternSize)
	}
	match, err := regexp.Compile(expression)
	if err != nil {
		return pattern{}, err
	}
	if match.MatchString("") {
		return pattern{}, fmt.Errorf("%q matches the empty string", expression)
	}
	tree, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return pattern{}, err
	}
	begun, err := regexp.Compile("(?:" + begin(tree).String() + `)\z`)
	if err != nil {
		return pattern{}, fmt.Errorf("%q is too complex: %w", expression, err)
	}
	return pattern{match, begun}, nil
}

// patternSpans marks what the patterns match in a text and in its decoded forms.
func (r *Redactor) patternSpans(text []byte, limit int, cut bool) {
	if len(r.patterns) == 0 {
		return
	}
	if len(text) > limit {
		r.spans.add(limit, len(text))
		text, cut = text[:limit], true
	}
	r.decoded(text, func(v view) {
		for i := range r.patterns {
			r.patterns[i].mark(&r.spans, v, cut)
		}
	})
}

func (p *pattern) mark(s *spans, v view, cut bool) {
	// Match allocates nothing, unlike what finds places.
	if p.match.Match(v.bytes) {
		for _, found := range p.match.FindAllSubmatchIndex(v.bytes, -1) {
			from, to := found[0], found[1]
			if len(found) > 2 && found[2] >= 0 {
				from, to = found[2], found[3]
			}
			s.add(v.place(from), v.place(to))
		}
	}
	if !cut {
		return
	}
	if found := p.begun.FindIndex(v.bytes); found != nil {
		s.add(v.place(found[0]), v.place(found[1]))
	}
}

// begin returns an expression for all beginnings of what another one matches, the empty
// string and the whole among them. A secret that is cut in two would not match otherwise.
func begin(re *syntax.Regexp) *syntax.Regexp {
	switch re.Op {
	case syntax.OpLiteral:
		return beginLiteral(re)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return operation(syntax.OpQuest, re)
	case syntax.OpCapture, syntax.OpQuest:
		return begin(re.Sub[0])
	case syntax.OpStar, syntax.OpPlus:
		return operation(syntax.OpConcat, operation(syntax.OpStar, re.Sub[0]), begin(re.Sub[0]))
	case syntax.OpRepeat:
		return beginRepeat(re)
	case syntax.OpConcat:
		// Of abc: the beginnings of a, or a and the beginnings of bc.
		last := len(re.Sub) - 1
		result := begin(re.Sub[last])
		for i := last - 1; i >= 0; i-- {
			result = operation(syntax.OpAlternate, operation(syntax.OpConcat, re.Sub[i], result), begin(re.Sub[i]))
		}
		return result
	case syntax.OpAlternate:
		var subs []*syntax.Regexp
		for _, sub := range re.Sub {
			subs = append(subs, begin(sub))
		}
		return operation(syntax.OpAlternate, subs...)
	case syntax.OpNoMatch:
		return re
	default: // Anchors and word boundaries match no bytes.
		return &syntax.Regexp{Op: syntax.OpEmptyMatch}
	}
}

func beginLiteral(re *syntax.Regexp) *syntax.Regexp {
	var result *syntax.Regexp
	for i := len(re.Rune) - 1; i >= 0; i-- {
		letter := &syntax.Regexp{Op: syntax.OpLiteral, Flags: re.Flags, Rune: re.Rune[i : i+1]}
		if result != nil {
			letter = operation(syntax.OpConcat, letter, result)
		}
		result = operation(syntax.OpQuest, letter)
	}
	return result
}

func beginRepeat(re *syntax.Regexp) *syntax.Regexp {
	sub := re.Sub[0]
	if re.Max == 0 {
		return &syntax.Regexp{Op: syntax.OpEmptyMatch}
	}
	before := operation(syntax.OpStar, sub)
	if re.Max > 1 {
		before = operation(syntax.OpRepeat, sub)
		before.Min, before.Max = 0, re.Max-1
	} else if re.Max == 1 {
		return begin(sub)
	}
	return operation(syntax.OpConcat, before, begin(sub))
}

func operation(op syntax.Op, subs ...*syntax.Regexp) *syntax.Regexp {
	return &syntax.Regexp{Op: op, Sub: subs, Flags: syntax.Perl}
}
