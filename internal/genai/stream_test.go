// SPDX-License-Identifier: Apache-2.0

package genai_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/genai"
)

// stream is an event stream of an endpoint with a text inside, and what is read of it.
type stream struct{ target, events, want string }

func streams(t testing.TB, text string) []stream {
	t.Helper()
	quoted := quote(t, text)
	chunk := func(rest string) string {
		return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"m-1",` + rest + "}\n\n"
	}
	event := func(name, rest string) string {
		return "event: " + name + "\ndata: {\"type\":\"" + name + "\"," + rest + "}\n\n"
	}
	final := fmt.Sprintf(`"response":{"id":"resp_1","status":"completed","output":[{"content":%s}],"model":"m-1","usage":{"input_tokens":3,`+
		`"output_tokens":12345,"output_tokens_details":{"reasoning_tokens":678}},"metadata":{}},"sequence_number":9`, quoted)
	return []stream{
		{
			chat,
			chunk(`"choices":[{"index":0,"delta":{"role":"assistant","content":`+quoted+`},"finish_reason":null}],"usage":null`) +
				chunk(`"choices":[{"index":0,"delta":{"content":`+quoted+`},"finish_reason":null}]`) +
				chunk(`"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]`) +
				chunk(`"choices":[],"usage":{"prompt_tokens":1234,"completion_tokens":56789,"total_tokens":58023}`) +
				"data: [DONE]\n\n",
			"chat openai response=m-1 id=chatcmpl-1 reason=stop stream in=1234 out=56789",
		},
		{
			"/v1/responses",
			event("response.created", `"response":{"id":"resp_1","status":"in_progress","model":"m-1","output":[],"usage":null}`) +
				event("response.output_text.delta", `"item_id":"msg_1","delta":`+quoted) +
				event("response.completed", final),
			"chat openai response=m-1 id=resp_1 stream in=3 out=12345 reasoning=678",
		},
		{
			"/v1/messages",
			event("message_start", `"message":{"id":"msg_1","type":"message","model":"m-1","content":[],"stop_reason":null,`+
				`"usage":{"input_tokens":472,"cache_read_input_tokens":10,"output_tokens":2}}`) +
				event("content_block_delta", `"index":0,"delta":{"type":"text_delta","text":`+quoted+`}`) +
				"event: ping\ndata: {\"type\": \"ping\"}\n\n" +
				event("message_delta", `"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":8915}`) +
				event("message_stop", `"x":1`),
			"chat anthropic response=m-1 id=msg_1 reason=end_turn stream in=482 out=8915 cached=10",
		},
	}
}

func TestStream(t *testing.T) {
	for _, s := range streams(t, "SECRET\ndata: {}") {
		for _, ends := range []string{"\n", "\r\n", "\r"} {
			events := strings.ReplaceAll(s.events, "\n", ends)
			require.Equal(t, s.want, read(s.target, genai.Input{Answer: []byte(events), EventStream: true}))
			require.Equal(t, s.want, read(s.target, genai.Input{Tail: []byte(events), EventStream: true}))
		}
		// Events without the blank after the colon.
		require.Equal(t, s.want, read(s.target, genai.Input{Answer: []byte(strings.ReplaceAll(s.events, "data: ", "data:")), EventStream: true}))
	}
}

// TestTailOfStream: whatever the end begins with, and with a beginning of any size, what is
// read is right. The counts are there if the end has them.
func TestTailOfStream(t *testing.T) {
	for _, s := range streams(t, `SECRET "usage":{"output_tokens":1}} "model":"x"`) {
		for at := range s.events {
			got := read(s.target, genai.Input{Tail: []byte(s.events[at:]), EventStream: true})
			requireRight(t, s, got, at)
			if at <= strings.LastIndex(s.events, `"usage"`) {
				require.Contains(t, got, " out=", s.events[at:])
			}
			both := read(s.target, genai.Input{Answer: []byte(s.events[:at]), Tail: []byte(s.events[at:]), EventStream: true})
			requireRight(t, s, both, at)
		}
	}
}

// requireRight permits what is absent, and nothing that is wrong.
func requireRight(t testing.TB, s stream, got string, at int) {
	t.Helper()
	if got == "unknown" {
		return
	}
	want := strings.Fields(s.want)
	for _, field := range strings.Fields(got) {
		// Cached tokens are counted in if they are known.
		require.Contains(t, append(want, "in=472"), field, "%d: %s", at, got)
	}
}

func TestOddStreams(t *testing.T) {
	for name, test := range map[string]struct{ events, want string }{
		"counts in each chunk": {
			"data: {\"model\":\"m\",\"usage\":{\"completion_tokens\":1}}\n\ndata: {\"model\":\"m\",\"usage\":{\"completion_tokens\":2}}\n\n",
			"chat openai response=m stream out=2",
		},
		"cut inside a count": {"data: {\"model\":\"m\",\"usage\":{\"completion_tokens\":1", "chat openai response=m stream"},
		"no counts":          {"data: {\"model\":\"m\"}\n\n", "chat openai response=m stream"},
		"comments":           {": x\n\n:\ndata: {\"model\":\"m\"}\n\n", "chat openai response=m stream"},
		"no JSON":            {"data: model\n\ndata: [DONE]\n\n", "unknown"},
		"no stream":          {`{"model":"m"}`, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, read(chat, genai.Input{Answer: []byte(test.events), EventStream: true}))
		})
	}
}

func BenchmarkStream(b *testing.B) {
	events := []byte(streams(b, strings.Repeat("some words ", 700))[0].events)
	in := &genai.Input{
		Endpoint: genai.ChatCompletions, Target: []byte(chat), Request: []byte(`{"model":"m","stream":true}`),
		Answer: events[:4096], Tail: events[len(events)-8192:], EventStream: true,
	}
	var r genai.Reader
	b.SetBytes(4096 + 8192)
	b.ReportAllocs()
	for b.Loop() {
		if _, known := r.Read(in); !known {
			b.Fatal("unknown")
		}
	}
}
