// SPDX-License-Identifier: Apache-2.0

package genai_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/genai"
)

func TestEndpointOf(t *testing.T) {
	for target, want := range map[string]genai.Endpoint{
		"/v1/chat/completions":                                   genai.ChatCompletions,
		"/v1/chat/completions?x=/messages":                       genai.ChatCompletions,
		"/openai/deployments/gpt/chat/completions?api-version=1": genai.ChatCompletions,
		"http://10.0.0.1:8000/ai/v1/chat/completions/":           genai.ChatCompletions,
		"/v1/completions":                                        genai.Completions,
		"/v1/responses":                                          genai.Responses,
		"/v1/embeddings#x":                                       genai.Embeddings,
		"/anthropic/v1/messages":                                 genai.Messages,
		"/v1/messages/count_tokens":                              genai.NoEndpoint,
		"/v1/responses/resp_1/cancel":                            genai.NoEndpoint,
		"/v1/models":                                             genai.NoEndpoint,
		"/chat":                                                  genai.NoEndpoint,
		"/v1/x?/chat/completions":                                genai.NoEndpoint,
		"messages":                                               genai.NoEndpoint,
		"/":                                                      genai.NoEndpoint,
		"":                                                       genai.NoEndpoint,
	} {
		require.Equal(t, want, genai.EndpointOf([]byte("POST"), []byte(target)), target)
		require.Equal(t, genai.NoEndpoint, genai.EndpointOf([]byte("GET"), []byte(target)))
	}
	require.Empty(t, genai.NoEndpoint.Operation())
}

// show writes what is known of a call.
func show(c *genai.Call, known bool) string {
	if !known {
		return "unknown"
	}
	var all []string
	add := func(name string, value []byte) {
		if value != nil {
			all = append(all, fmt.Sprintf("%s=%s", name, value))
		}
	}
	all = append(all, c.Operation, c.Provider)
	add("request", c.RequestModel)
	add("response", c.ResponseModel)
	add("id", c.ResponseID)
	for _, reason := range c.FinishReasons {
		add("reason", reason)
	}
	if c.Stream {
		all = append(all, "stream")
	}
	for _, count := range []struct {
		name  string
		count int64
	}{
		{"in", c.InputTokens},
		{"out", c.OutputTokens},
		{"cached", c.CacheReadTokens},
		{"created", c.CacheCreationTokens},
		{"reasoning", c.ReasoningTokens},
	} {
		if count.count >= 0 {
			all = append(all, fmt.Sprintf("%s=%d", count.name, count.count))
		}
	}
	return strings.Join(all, " ")
}

func read(target string, in genai.Input) string {
	in.Endpoint, in.Target = genai.EndpointOf([]byte("POST"), []byte(target)), []byte(target)
	var r genai.Reader
	call, known := r.Read(&in)
	return show(call, known)
}

const (
	chat     = "/v1/chat/completions"
	answered = `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4-0613",
		"choices":[{"index":0,"message":{"role":"assistant","content":"a \"usage\":{\"prompt_tokens\":7} b"},"finish_reason":"stop"},
		{"index":1,"message":{"role":"assistant","content":"SECRET"},"finish_reason":"length"}],
		"usage": {"prompt_tokens":11,"completion_tokens":22,"total_tokens":33,
		"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":5}}}`
	anthropic = `{"id":"msg_1","type":"message","role":"assistant","model":"claude-x",
		"content":[{"type":"text","text":"SECRET"},{"type":"tool_use","input":{"usage":{"input_tokens":99},"model":"no"}}],
		"stop_reason":"end_turn","stop_sequence":null,
		"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":30,"output_tokens":5}}`
)

func TestRead(t *testing.T) {
	for name, test := range map[string]struct {
		target, request, answer, want string
	}{
		"OpenAI chat": {
			chat, `{"model":"gpt-4","messages":[{"role":"user","content":"SECRET","model":"no"}]}`, answered,
			"chat openai request=gpt-4 response=gpt-4-0613 id=chatcmpl-1 reason=stop reason=length in=11 out=22 cached=4 reasoning=5",
		},
		"Azure": {
			"/openai/deployments/d/chat/completions", `{"messages":[]}`, answered,
			"chat azure.ai.openai response=gpt-4-0613 id=chatcmpl-1 reason=stop reason=length in=11 out=22 cached=4 reasoning=5",
		},
		"completions": {
			"/v1/completions", `{"model":"meta/llama 3:8b","prompt":"SECRET"}`,
			`{"id":"cmpl-1","model":"meta/llama 3:8b","choices":[{"text":"SECRET","finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`,
			"text_completion openai request=meta/llama 3:8b response=meta/llama 3:8b id=cmpl-1 reason=length in=1 out=2",
		},
		"embeddings": {
			"/v1/embeddings", `{"input":"SECRET","model":"embed"}`,
			`{"object":"list","data":[{"embedding":[0.1,-2e-3],"index":0}],"model":"embed-2","usage":{"prompt_tokens":8,"total_tokens":8,"completion_tokens":0}}`,
			"embeddings openai request=embed response=embed-2 in=8",
		},
		"responses": {
			"/v1/responses", `{"model":"o1","input":"SECRET","stream":false}`,
			`{"id":"resp_1","status":"completed","model":"o1-2","output":[{"id":"rs_1","usage":{"input_tokens":1}}],
			"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens":4,"output_tokens_details":{"reasoning_tokens":2}}}`,
			"chat openai request=o1 response=o1-2 id=resp_1 in=3 out=4 cached=1 reasoning=2",
		},
		"Anthropic": {
			"/v1/messages", `{"model":"claude","max_tokens":5,"messages":[]}`, anthropic,
			"chat anthropic request=claude response=claude-x id=msg_1 reason=end_turn in=60 out=5 cached=30 created=20",
		},
		"request only":      {chat, `{"model":"m","stream":true}`, "", "chat openai request=m stream"},
		"answer only":       {chat, "", `{"usage":{"prompt_tokens":1}}`, "chat openai in=1"},
		"error":             {chat, `{"model":"m"}`, `{"error":{"message":"SECRET","id":"no"}}`, "chat openai request=m"},
		"cut request":       {chat, `{"model":"m","stream":true,"messages":[{"content":"SEC`, "", "chat openai request=m stream"},
		"cut before model":  {chat, `{"messages":[{"content":"SECRET"}],"mod`, "", "unknown"},
		"cut inside model":  {chat, `{"model":"gpt-`, "", "unknown"},
		"last model counts": {chat, `{"model":"a","model":"b"}`, "", "chat openai request=b"},
		"wrong kinds":       {chat, `{"model":["a"],"stream":"true"}`, `{"model":{"model":"a"},"id":1,"usage":{"prompt_tokens":"1","completion_tokens":-1}}`, "unknown"},
		"nested members":    {chat, `{"a":{"model":"a"},"b":[{"stream":true}],"c":[[{"model":"x"}]]}`, `[{"model":"a","usage":{"prompt_tokens":1}}]`, "unknown"},
		"no text passes":    {chat, `{"model":"a\nSECRET"}`, `{"id":"a SECRET","model":"","choices":[{"finish_reason":"a SECRET"}]}`, "unknown"},
		"too long":          {chat, `{"model":"` + strings.Repeat("m", 256) + `"}`, `{"choices":[{"finish_reason":"` + strings.Repeat("r", 65) + `"}]}`, "unknown"},
		"odd counts":        {chat, `{"model":"m"}`, `{"usage":{"prompt_tokens":1.5,"completion_tokens":99999999999999999999}}`, "chat openai request=m"},
		"a cut count":       {chat, `{"model":"m"}`, `{"usage":{"prompt_tokens":1,"completion_tokens":12`, "chat openai request=m in=1"},
		"no JSON":           {chat, "model", "<html>", "unknown"},
		"nothing":           {chat, "", "", "unknown"},
		"no endpoint":       {"/v1/models", `{"model":"m"}`, answered, "unknown"},
		"many reasons": {
			chat, "", `{"model":"m","choices":[` + strings.Repeat(`{"finish_reason":"s"},`, 100) + `{}]}`,
			"chat openai response=m" + strings.Repeat(" reason=s", 16),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(test.target, genai.Input{Request: []byte(test.request), Answer: []byte(test.answer)})
			require.Equal(t, test.want, got)
			require.NotContains(t, got, "SECRET")
		})
	}
}

// TestTailOfAnswer: the end of an answer gives what its beginning does not, wherever it
// begins. What it gives is right.
func TestTailOfAnswer(t *testing.T) {
	for target, answer := range map[string]string{chat: answered, "/v1/messages": anthropic} {
		whole := strings.Fields(read(target, genai.Input{Answer: []byte(answer)}))
		counts := 0
		for at := range answer {
			got := read(target, genai.Input{Tail: []byte(answer[at:])})
			if got == "unknown" {
				continue
			}
			require.Subset(t, whole, strings.Fields(got), answer[at:])
			if strings.Contains(got, "in=") {
				counts++
			}
		}
		require.Equal(t, strings.LastIndex(answer, `"usage"`)+1, counts, "all that begin before the counts")
	}
	require.Equal(t, "embeddings openai response=e in=8",
		read("/v1/embeddings", genai.Input{Tail: []byte(`.5,0.25]}],"model" : "e", "usage": {"prompt_tokens":8}}`)}))
	require.Equal(t, "unknown", read(chat, genai.Input{Tail: []byte(`"usage":{"prompt_tokens":8}}}`)}), "too deep")
	require.Equal(t, "unknown", read(chat, genai.Input{Tail: []byte(`"usage":{"prompt_tokens":8},`)}), "not the end")
}

func TestReadAllocatesNothing(t *testing.T) {
	var r genai.Reader
	in := &genai.Input{
		Endpoint: genai.ChatCompletions, Target: []byte(chat),
		Request: []byte(`{"model":"m"}`), Answer: []byte(answered[:200]), Tail: []byte(answered[200:]),
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, known := r.Read(in); !known {
			t.Fatal("unknown")
		}
	}))
}

// quote is text as a string of JSON.
func quote(t testing.TB, text string) string {
	t.Helper()
	quoted, err := json.Marshal(text)
	require.NoError(t, err)
	return string(quoted)
}
