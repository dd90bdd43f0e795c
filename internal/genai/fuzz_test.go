// SPDX-License-Identifier: Apache-2.0

package genai_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/genai"
)

// FuzzStream: whatever the contents, what is read is within its bounds, and reading again
// gives the same. Of a stream with any text inside, cut at any two places, nothing is read
// that is wrong.
func FuzzStream(f *testing.F) {
	for i, s := range streams(f, `say "usage":{"output_tokens":1}}`) {
		f.Add(uint8(i), []byte(`{"model":"m","stream":true}`), []byte(s.events[:len(s.events)/2]), []byte(s.events[len(s.events)/3:]), true, uint16(300), uint16(100))
	}
	f.Add(uint8(0), []byte(`{"model":"m","messages":[]}`), []byte(answered), []byte(answered[200:]), false, uint16(0), uint16(10))
	f.Add(uint8(2), []byte(`{"model":"m","messages":[]}`), []byte(anthropic), []byte(anthropic[100:]), false, uint16(500), uint16(0))
	f.Add(uint8(1), []byte("\"}}"), []byte("data: {"), []byte(`"usage":{"usage":{}}}`), true, uint16(9), uint16(9))
	f.Fuzz(func(t *testing.T, which uint8, request, answer, tail []byte, eventStream bool, head, skip uint16) {
		var r genai.Reader
		for e := genai.NoEndpoint; e <= genai.Messages; e++ {
			in := &genai.Input{Endpoint: e, Request: request, Answer: answer, Tail: tail, EventStream: eventStream}
			call, known := r.Read(in)
			first := show(call, known)
			requireBounded(t, call, known)
			require.Equal(t, first, show(r.Read(in)))
		}

		all := streams(t, string(answer))
		s := all[int(which)%len(all)]
		events := []byte(s.events)
		end := min(int(head), len(events))
		// The text is in the middle: cut there or near the end.
		begin := max(end, len(events)-int(skip))
		got := read(s.target, genai.Input{Answer: events[:end], Tail: events[begin:], EventStream: true})
		requireRight(t, s, got, begin)
	})
}

func requireBounded(t *testing.T, c *genai.Call, known bool) {
	if !known {
		return
	}
	for _, text := range append([][]byte{c.RequestModel, c.ResponseModel, c.ResponseID}, c.FinishReasons...) {
		require.LessOrEqual(t, len(text), 255)
		for _, b := range text {
			require.True(t, ' ' <= b && b <= '~')
		}
	}
	require.LessOrEqual(t, len(c.FinishReasons), 16)
	for _, count := range []int64{c.InputTokens, c.OutputTokens, c.CacheReadTokens, c.CacheCreationTokens, c.ReasoningTokens} {
		require.GreaterOrEqual(t, count, int64(-1))
	}
}
