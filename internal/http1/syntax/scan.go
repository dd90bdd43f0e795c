// SPDX-License-Identifier: Apache-2.0

package syntax

import "bytes"

// Scan reads a head in the pieces that it comes in, and keeps only what says where the body
// ends. It is for heads that are not stored. The zero value is ready.
type Scan struct {
	start startLine
	names fieldScan
}

// Read takes the next bytes of a head.
func (s *Scan) Read(data []byte) {
	if !s.start.done {
		line, rest, ends := bytes.Cut(data, []byte{'\n'})
		s.start.read(line)
		if s.start.done = ends; !ends {
			return
		}
		data = rest
	}
	s.names.read(data)
}

// Beginning returns the first bytes of the head.
func (s *Scan) Beginning() []byte { return s.start.first[:s.start.n] }

// HasVersion reports whether the start line of a request names a version.
func (s *Scan) HasVersion() bool { return hasVersion(s.start.lastWord()) }

// Request writes what the head of a request says, except the target. It reports false if the
// start line is none. Nothing of the head must follow.
func (s *Scan) Request(h *Head) bool {
	*h = Head{Method: s.start.name()}
	s.names.fill(h)
	if h.Framing == UntilClose {
		h.Framing = None
	}
	if !s.start.isRequest(s.HasVersion()) {
		return false
	}
	h.Version = version(s.start.lastWord())
	return true
}

// Answer writes what the head of an answer says. It reports false if the start line is none.
// Nothing of the head must follow.
func (s *Scan) Answer(h *Head) bool {
	*h = Head{Framing: UntilClose}
	if !h.statusLine(s.Beginning()) {
		return false
	}
	s.names.fill(h)
	return true
}

// startLine is what is kept of a start line.
type startLine struct {
	// first are its first bytes, word those of its last word.
	first [24]byte
	word  [9]byte
	n, w  uint8
	// method are the bytes before the first space.
	method uint16
	// gap is set if a space ends the word, unless the line ends. blanks are other white space
	// that may end the line.
	blanks uint8
	gap    bool
	// scheme counts what came of "://".
	scheme uint8
	// done: the line has ended. spaced: a space came. odd: what came before is no token.
	// begun: the target has begun. slash: it begins so.
	done, spaced, odd, begun, slash bool
}

func (l *startLine) lastWord() []byte { return l.word[:l.w] }

// name is the method; nil if it is none, or too long for one that is known.
func (l *startLine) name() []byte {
	if !l.spaced || l.odd || l.method == 0 || int(l.method) > len(l.first) {
		return nil
	}
	return l.first[:l.method]
}

func (l *startLine) isRequest(versioned bool) bool {
	return l.spaced && !l.odd && l.method > 0 && (versioned || l.slash || int(l.scheme) == len("://"))
}

func (l *startLine) read(part []byte) {
	l.n += uint8(copy(l.first[l.n:], part))
	for _, c := range part {
		switch {
		case l.spaced:
			l.target(c)
		case c == ' ':
			l.spaced = true
		default:
			l.odd = l.odd || !token[c]
			l.method = min(l.method, 1000) + 1
		}
	}
}

// target reads what follows the method.
func (l *startLine) target(c byte) {
	switch {
	case isSpace(c) && !l.begun:
		return
	case c == ' ':
		l.gap, l.blanks = true, 0
		return
	case c == '\t', c == '\r':
		l.begun = true
		l.blanks = min(l.blanks, 100) + 1
		return
	case !l.begun:
		l.begun, l.slash = true, c == '/'
	}
	if l.gap {
		l.gap, l.w = false, 0
	}
	for ; l.blanks > 0; l.blanks-- {
		l.add('\t')
	}
	l.add(c)
	l.seek(c)
}

func (l *startLine) add(c byte) {
	if int(l.w) < len(l.word) {
		l.word[l.w] = c
		l.w++
	}
}

// seek looks for "://".
func (l *startLine) seek(c byte) {
	const mark = "://"
	switch {
	case int(l.scheme) == len(mark):
	case c == mark[l.scheme]:
		l.scheme++
	case c == mark[0]:
		l.scheme = 1
	default:
		l.scheme = 0
	}
}
