// SPDX-License-Identifier: Apache-2.0

package genai

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/jsonscan"
)

// stream reads the events of a part of a stream. Only a tail begins anywhere.
func (r *Reader) stream(content []byte, e Endpoint, isTail bool) {
	for first := true; len(content) > 0; first = false {
		line := content
		if end := bytes.IndexAny(content, "\r\n"); end >= 0 {
			line, content = content[:end], content[end+1:]
		} else {
			content = nil
		}
		data, isData := bytes.CutPrefix(line, []byte("data:"))
		switch {
		case isData:
			r.scan.Reset(data, maxDepth)
			r.members(true)
		case first && isTail:
			r.restOfEvent(line, e)
		}
	}
}

// restOfEvent reads the end of an event.
func (r *Reader) restOfEvent(line []byte, e Endpoint) {
	if e == Responses {
		// The last event has the whole answer inside of it.
		r.path[0] = response
		r.rest(line, true, jsonscan.ObjectBegin, jsonscan.ObjectBegin)
		return
	}
	r.rest(line, true, jsonscan.ObjectBegin)
}

// restOfAnswer reads the end of an answer that is one JSON text.
func (r *Reader) restOfAnswer(tail []byte, e Endpoint) {
	if e == ChatCompletions || e == Completions {
		r.path[0], r.path[1] = choices, item
		if r.rest(tail, false, jsonscan.ObjectBegin, jsonscan.ArrayBegin, jsonscan.ObjectBegin) {
			return
		}
	}
	r.rest(tail, false, jsonscan.ObjectBegin)
}

// maxAttempts is how many places of each name are tried.
const maxAttempts = 4

// rest reads the end of a JSON text, which begins anywhere inside of the brackets. It reports
// whether it found a member there.
//
// A name with both quotes can't be inside of a string, because there its quotes have
// backslashes. That it is a member of the right object is known only if the rest from
// there to the end is well-formed and closes just these brackets.
func (r *Reader) rest(tail []byte, inEvent bool, brackets ...jsonscan.Kind) bool {
	begin := len(tail)
	for _, name := range [...]string{`"model"`, `"finish_reason"`, `"stop_reason"`, `"usage"`} {
		end := len(tail)
		for range maxAttempts {
			if end = bytes.LastIndex(tail[:end], []byte(name)); end < 0 {
				break
			}
			if r.closes(tail[end:], brackets) {
				begin = min(begin, end)
				break
			}
		}
	}
	if begin == len(tail) {
		return false
	}
	r.scan.ResetInside(tail[begin:], maxDepth, brackets...)
	r.members(inEvent)
	return true
}

// closes reports whether the rest of a text is well-formed and closes the brackets.
func (r *Reader) closes(rest []byte, brackets []jsonscan.Kind) bool {
	r.scan.ResetInside(rest, maxDepth, brackets...)
	for {
		switch kind, err := r.scan.Next(); {
		case err != nil:
			return false
		case kind == jsonscan.End:
			return true
		}
	}
}
