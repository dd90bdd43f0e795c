// SPDX-License-Identifier: Apache-2.0

// Package genai reads what requests to language models and their answers say of
// themselves: model, token counts, why the answer ended. It knows the forms of OpenAI and
// Anthropic, which vLLM, Ollama and llama.cpp serve too. It never gives a prompt or an
// answer. What is unknown is absent.
package genai

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/jsonscan"
)

// Input is what was captured of a request and its answer, without content encodings.
type Input struct {
	Endpoint Endpoint
	// Target is the request's.
	Target []byte
	// Request and Answer are the beginnings of the contents, or all of them.
	Request, Answer []byte
	// Tail is the end of the answer's content if Answer lacks it. It may begin anywhere.
	Tail []byte
	// EventStream is set if the answer is text/event-stream.
	EventStream bool
}

// Call is what is known. Its bytes belong to the Reader until its next call.
type Call struct {
	// Operation and Provider are values of gen_ai.operation.name and gen_ai.provider.name.
	Operation, Provider string
	// RequestModel is the client's choice: bound how many of them a metric has.
	RequestModel, ResponseModel, ResponseID []byte
	FinishReasons                           [][]byte
	// Stream is set if the client asked for a stream, or the answer is one.
	Stream bool
	// Token counts; -1 if unknown. Input has the cached tokens, too.
	InputTokens, OutputTokens                             int64
	CacheReadTokens, CacheCreationTokens, ReasoningTokens int64
}

const (
	// maxName is the greatest length of a model's name or an answer's id.
	maxName = 255
	// maxReason is the greatest length of a finish reason.
	maxReason = 64
	// maxReasons is how many finish reasons an answer may have.
	maxReasons = 16
	// maxTokens is the greatest count that is believed.
	maxTokens = 1 << 40
	// maxDepth is how deep contents may be nested.
	maxDepth = 128
)

// Reader reads calls. It reuses its memory, and is not for concurrent use.
type Reader struct {
	call  Call
	usage usage
	scan  jsonscan.Scanner
	// path has the member of each open object, or item for an array.
	path [jsonscan.MaxDepth]member
	// text has the strings of the call.
	text []byte
}

// usage has the counts as the answer has them; -1 if unknown.
type usage struct {
	input, output, cacheRead, cacheCreation, reasoning int64
}

// Read reads a call. It returns false if the request has no endpoint of a language model,
// or neither content has anything that such a request or answer has.
func (r *Reader) Read(in *Input) (*Call, bool) {
	if in.Endpoint == NoEndpoint {
		return nil, false
	}
	r.reset()
	r.call.Operation, r.call.Provider = in.Endpoint.Operation(), in.Endpoint.provider(in.Target)
	r.call.Stream = in.EventStream
	r.request(in.Request)
	if in.EventStream {
		r.stream(in.Answer, in.Endpoint, false)
		r.stream(in.Tail, in.Endpoint, true)
	} else {
		r.scan.Reset(in.Answer, maxDepth)
		r.members(false)
		r.restOfAnswer(in.Tail, in.Endpoint)
	}
	r.count(in.Endpoint)
	c := &r.call
	known := c.RequestModel != nil || c.ResponseModel != nil || c.InputTokens >= 0 || c.OutputTokens >= 0
	return c, known
}

func (r *Reader) reset() {
	r.call = Call{FinishReasons: r.call.FinishReasons[:0]}
	r.usage = usage{input: -1, output: -1, cacheRead: -1, cacheCreation: -1, reasoning: -1}
	r.text = r.text[:0]
}

// count sets the token counts of the call.
func (r *Reader) count(e Endpoint) {
	c, u := &r.call, &r.usage
	c.InputTokens, c.OutputTokens = u.input, u.output
	c.CacheReadTokens, c.CacheCreationTokens, c.ReasoningTokens = u.cacheRead, u.cacheCreation, u.reasoning
	if e == Messages && u.input >= 0 {
		// Anthropic's form counts cached tokens apart, the conventions count them in.
		c.InputTokens += max(0, u.cacheRead) + max(0, u.cacheCreation)
	}
	if e == Embeddings && u.output == 0 {
		// There is no output that could have tokens.
		c.OutputTokens = -1
	}
}

// request reads the members that are known at the top of a request, as far as it goes.
func (r *Reader) request(content []byte) {
	r.scan.Reset(content, maxDepth)
	member := unknown
	for {
		kind, err := r.scan.Next()
		if err != nil || kind == jsonscan.End {
			return
		}
		if kind == jsonscan.Name {
			member = unknown
			if r.scan.Depth() == 1 {
				member = r.name()
			}
			continue
		}
		// The value of a member at the top leaves the depth at 1.
		if r.scan.Depth() != 1 {
			member = unknown
		}
		switch {
		case member == model && kind == jsonscan.String:
			r.call.RequestModel = r.string(isModel, maxName)
		case member == streamed && (kind == jsonscan.True || kind == jsonscan.False):
			r.call.Stream = r.call.Stream || kind == jsonscan.True
		}
		member = unknown
	}
}

// string keeps the last string if it has an expected form; else it is nil.
func (r *Reader) string(expected func(byte) bool, most int) []byte {
	// An escape is at most 12 bytes for a character.
	if len(r.scan.Text()) > 12*most {
		return nil
	}
	start := len(r.text)
	text, replaced := r.scan.Append(r.text)
	kept := text[start:len(text):len(text)]
	unexpected := func(c rune) bool { return c > 0x7f || !expected(byte(c)) }
	if replaced > 0 || len(kept) == 0 || len(kept) > most || bytes.ContainsFunc(kept, unexpected) {
		return nil
	}
	r.text = text
	return kept
}

// isModel permits what names of models and of their files have.
func isModel(c byte) bool { return ' ' <= c && c <= '~' }

// isWord permits what identifiers have: no text of people passes.
func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '_' || c == '-' || c == '.' || c == ':'
}
