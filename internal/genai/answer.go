// SPDX-License-Identifier: Apache-2.0

package genai

import (
	"strconv"

	"github.com/ebpftcp/ebpftcpreceiver/internal/jsonscan"
)

// member is a name that is known in requests and answers.
type member uint8

const (
	// unknown is not 0, so that a place with it is not that of what is inside.
	unknown member = iota + 1
	model
	streamed
	id
	choices
	finishReason
	stopReason
	delta
	usages
	inputTokens
	promptTokens
	outputTokens
	completionTokens
	inputDetails
	outputDetails
	cachedTokens
	reasoningTokens
	cacheRead
	cacheCreation
	response
	message
	// item is an item of an array.
	item
)

// name is the last name.
func (r *Reader) name() member {
	switch string(r.scan.Text()) {
	case "model":
		return model
	case "stream":
		return streamed
	case "id":
		return id
	case "choices":
		return choices
	case "finish_reason":
		return finishReason
	case "stop_reason":
		return stopReason
	case "delta":
		return delta
	case "usage":
		return usages
	case "input_tokens":
		return inputTokens
	case "prompt_tokens":
		return promptTokens
	case "output_tokens":
		return outputTokens
	case "completion_tokens":
		return completionTokens
	case "input_tokens_details", "prompt_tokens_details":
		return inputDetails
	case "output_tokens_details", "completion_tokens_details":
		return outputDetails
	case "cached_tokens":
		return cachedTokens
	case "reasoning_tokens":
		return reasoningTokens
	case "cache_read_input_tokens":
		return cacheRead
	case "cache_creation_input_tokens":
		return cacheCreation
	case "response":
		return response
	case "message":
		return message
	default:
		return unknown
	}
}

// place is where a value is: the members and items around it, from the outermost, 8 bits
// for each. Those deeper than four are unknown.
type place uint32

// Places of what is read.
const (
	atModel        = place(model)
	atID           = place(id)
	atStopReason   = place(stopReason)
	atDeltaReason  = place(delta)<<8 | place(stopReason)
	atFinishReason = place(choices)<<16 | place(item)<<8 | place(finishReason)

	atUsage         = place(usages) << 8
	atInput         = atUsage | place(inputTokens)
	atPrompt        = atUsage | place(promptTokens)
	atOutput        = atUsage | place(outputTokens)
	atCompletion    = atUsage | place(completionTokens)
	atCacheRead     = atUsage | place(cacheRead)
	atCacheCreation = atUsage | place(cacheCreation)
	atCached        = atUsage<<8 | place(inputDetails)<<8 | place(cachedTokens)
	atReasoning     = atUsage<<8 | place(outputDetails)<<8 | place(reasoningTokens)
	maxPlace        = 4
)

// members reads the text to its end, or as far as it is well-formed.
func (r *Reader) members(inEvent bool) {
	for {
		kind, err := r.scan.Next()
		if err != nil {
			return
		}
		depth := r.scan.Depth()
		switch kind {
		case jsonscan.End:
			return
		case jsonscan.Name:
			r.path[depth-1] = r.name()
		case jsonscan.ArrayBegin:
			r.path[depth-1] = item
		case jsonscan.String:
			r.str(r.place(depth, inEvent))
		case jsonscan.Number:
			r.number(depth, inEvent)
		}
	}
}

// place is where the last value is. In events, the answer can be inside of a member.
func (r *Reader) place(depth int, inEvent bool) place {
	at := r.path[:depth]
	if inEvent && depth > 1 && (at[0] == response || at[0] == message) {
		at = at[1:]
	}
	if len(at) > maxPlace {
		return 0
	}
	var p place
	for _, m := range at {
		p = p<<8 | place(m)
	}
	return p
}

// str takes a string that is known by its place. Each event has model and id again, so that
// the first stay.
func (r *Reader) str(at place) {
	switch c := &r.call; at {
	case atModel:
		if c.ResponseModel == nil {
			c.ResponseModel = r.string(isModel, maxName)
		}
	case atID:
		if c.ResponseID == nil {
			c.ResponseID = r.string(isWord, maxName)
		}
	case atFinishReason, atStopReason, atDeltaReason:
		if len(c.FinishReasons) >= maxReasons {
			return
		}
		if reason := r.string(isWord, maxReason); reason != nil {
			c.FinishReasons = append(c.FinishReasons, reason)
		}
	}
}

// number takes a count that is known by its place. Later counts replace earlier ones.
func (r *Reader) number(depth int, inEvent bool) {
	// The digits of a number at the end may be cut.
	if r.scan.AtEnd() {
		return
	}
	u := &r.usage
	var count *int64
	switch r.place(depth, inEvent) {
	case atInput, atPrompt:
		count = &u.input
	case atOutput, atCompletion:
		// Anthropic's first event has the output of its beginning only.
		if inEvent && r.path[0] == message {
			return
		}
		count = &u.output
	case atCached, atCacheRead:
		count = &u.cacheRead
	case atCacheCreation:
		count = &u.cacheCreation
	case atReasoning:
		count = &u.reasoning
	default:
		return
	}
	if n, err := strconv.ParseInt(string(r.scan.Text()), 10, 64); err == nil && 0 <= n && n <= maxTokens {
		*count = n
	}
}
