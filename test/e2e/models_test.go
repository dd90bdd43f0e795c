// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// What the server of models does before the head of an answer, and before its first token.
const beforeHead, beforeToken = 100 * time.Millisecond, 300 * time.Millisecond

// spoken is what the model says. It is secret.
const spoken = "the-answer-itself "

// playModels answers like vLLM on an address until its standard input ends.
func playModels(address string) error { return playHTTP(address, answerCall) }

func answerCall(w http.ResponseWriter, r *http.Request) {
	var call struct {
		Model  string `json:"model"`
		Stream bool   `json:"stream"`
	}
	text, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(text, &call) != nil || call.Model != "qwen" {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"error":{"message":"no such model","code":404}}`)
		return
	}
	time.Sleep(beforeHead)
	switch {
	case strings.HasSuffix(r.URL.Path, "/embeddings"):
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"object":"list","data":[{"embedding":[%s0.5]}],"model":"qwen-2","usage":{"prompt_tokens":3,"total_tokens":3}}`,
			strings.Repeat("0.25,", 20_000))
	case strings.HasSuffix(r.URL.Path, "/messages"):
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"msg_1","type":"message","model":"qwen-2","content":[{"type":"text","text":%q}],"stop_reason":"end_turn",`+
			`"usage":{"input_tokens":5,"cache_read_input_tokens":2,"output_tokens":9}}`, spoken)
	case call.Stream:
		streamAnswer(w)
	default:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"chat-1","object":"chat.completion","model":"qwen-2","choices":[{"index":0,"message":{"role":"assistant",`+
			`"content":%q},"finish_reason":"length"}],"usage":{"prompt_tokens":7,"completion_tokens":11,"total_tokens":18}}`,
			strings.Repeat(spoken, 5000))
	}
}

// streamAnswer sends the head, waits, and sends events. The last but one has the usage.
func streamAnswer(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	flusher := w.(http.Flusher)
	flusher.Flush()
	time.Sleep(beforeToken)
	event := func(rest string) {
		fmt.Fprintf(w, "data: {\"id\":\"chat-2\",\"object\":\"chat.completion.chunk\",\"model\":\"qwen-2\",%s}\n\n", rest)
		flusher.Flush()
	}
	for range 2000 {
		event(fmt.Sprintf(`"choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}],"usage":null`, spoken))
	}
	event(`"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null`)
	event(`"choices":[],"usage":{"prompt_tokens":13,"completion_tokens":2000,"total_tokens":2013}`)
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// TestModels: calls to a server of language models, streamed or not, with a prompt that is
// larger than the bound of what crosses.
func TestModels(t *testing.T) {
	const port, prompt = 28340, "the-prompt-itself"
	n := newNetwork(t)
	n.server.act(t, "models", n.At(port).String()).ready(t)
	out := startSink(t, n.server)
	agent := startAgent(t, out.endpoint, agentSettings{
		in:       n.server,
		receiver: fmt.Sprintf("    inspect: {http: {gateways: {openai: {ports: [%d]}}}}", port),
	})
	ask := func(path, more string) {
		post(t, n, port, path, "application/json", fmt.Sprintf(`{"model":"qwen",%s"messages":[{"role":"user","content":%q}]}`,
			more, strings.Repeat(prompt, 10_000)))
	}
	ask("/v1/chat/completions", `"stream":true,"stream_options":{"include_usage":true},`)
	ask("/v1/chat/completions?whole", "")
	ask("/v1/embeddings", "")
	ask("/anthropic/v1/messages", "")
	post(t, n, port, "/v1/responses", "application/json", `{"model":"unknown","input":"`+prompt+`"}`)
	post(t, n, port, "/v1/files", "application/json", `{"model":"qwen"}`)
	agent.balance(func(b lab.Ledger) bool { return b["request"].Delivered >= 6 })
	agent.stop()
	out.stop()

	checkStream(t, out)
	whole := callFor(t, out, "/v1/chat/completions", func(r record) bool { return r.values["url.query"] == "REDACTED" })
	assert.Equal(t, []any{7., 11., "chat-1", []any{"length"}}, []any{
		whole.number(t, "gen_ai.usage.input_tokens"), whole.number(t, "gen_ai.usage.output_tokens"),
		whole.values["gen_ai.response.id"], whole.values["gen_ai.response.finish_reasons"],
	})
	assert.NotContains(t, whole.values, "gen_ai.response.time_to_first_chunk")
	embeddings := callFor(t, out, "/v1/embeddings", nil)
	assert.Equal(t, []any{"embeddings", 3.}, []any{embeddings.values["gen_ai.operation.name"], embeddings.number(t, "gen_ai.usage.input_tokens")})
	messages := callFor(t, out, "/anthropic/v1/messages", nil)
	assert.Equal(t, []any{"anthropic", 7., 9.}, []any{
		messages.values["gen_ai.provider.name"], messages.number(t, "gen_ai.usage.input_tokens"), messages.number(t, "gen_ai.usage.output_tokens"),
	})
	assert.Equal(t, "unknown", callFor(t, out, "/v1/responses", nil).values["gen_ai.request.model"])
	assert.NotContains(t, callFor(t, out, "/v1/files", nil).values, "gen_ai.operation.name")

	for name, text := range map[string]string{"records": contents(t, out.logs), "metrics": contents(t, out.metrics), "log": agent.said()} {
		assert.NotContains(t, text, prompt, name)
		assert.NotContains(t, text, strings.TrimSpace(spoken), name)
	}
	checkCallMetrics(t, out)
}

// callFor is the only record of a request for a path that matches.
func callFor(t *testing.T, out *sink, path string, match func(record) bool) record {
	t.Helper()
	records := out.records(t, func(r record) bool { return requestsFor(path)(r) && (match == nil || match(r)) })
	require.Len(t, records, 1, path)
	return records[0]
}

func checkStream(t *testing.T, out *sink) {
	t.Helper()
	stream := callFor(t, out, "/v1/chat/completions", func(r record) bool { return r.values["url.query"] == nil })
	for name, want := range map[string]any{
		"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "qwen",
		"gen_ai.request.stream": true, "gen_ai.response.model": "qwen-2", "gen_ai.response.id": "chat-2",
		"gen_ai.response.finish_reasons": []any{"stop"},
	} {
		assert.Equal(t, want, stream.values[name], name)
	}
	assert.EqualValues(t, 13, stream.number(t, "gen_ai.usage.input_tokens"))
	assert.EqualValues(t, 2000, stream.number(t, "gen_ai.usage.output_tokens"))
	first := stream.number(t, "gen_ai.response.time_to_first_chunk")
	assert.GreaterOrEqual(t, first, (beforeHead + beforeToken).Seconds(), "from the request to the first event, not to the head")
	assert.LessOrEqual(t, first, stream.number(t, "tcp.http.duration"))
}

func checkCallMetrics(t *testing.T, out *sink) {
	t.Helper()
	of := func(name string, more map[string]any) point {
		return out.total(t, func(p point) bool {
			for key, want := range more {
				if p.values[key] != want {
					return false
				}
			}
			return p.metric == name
		})
	}
	assert.EqualValues(t, 5, of("gen_ai.server.request.duration", nil).count)
	assert.EqualValues(t, 1, of("gen_ai.server.request.duration", map[string]any{"gen_ai.request.model": "_OTHER"}).count, "a model that nobody serves")
	first := of("gen_ai.server.time_to_first_token", nil)
	assert.EqualValues(t, 1, first.count)
	assert.GreaterOrEqual(t, first.sum, (beforeHead + beforeToken).Seconds())
	chat := map[string]any{"gen_ai.token.type": "output", "gen_ai.operation.name": "chat", "gen_ai.response.model": "qwen-2"}
	assert.EqualValues(t, 2000+11+9, of("gen_ai.client.token.usage", chat).sum)
	assert.EqualValues(t, 13+7+3+7, of("gen_ai.client.token.usage", map[string]any{"gen_ai.token.type": "input"}).sum)
}
