// SPDX-License-Identifier: Apache-2.0

package series

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/genai"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// call counts a call to a language model.
func (m *Metrics) call(set *attributeSet, v *httpview.View) {
	c := v.Call
	if v.Problem.Unanswered() {
		return
	}
	request, response := clean.String(c.Request), clean.String(c.Response)
	// Each in the order of the metric's declaration.
	if c.Timed {
		m.recordTuple(set, declared.MetricGenAIServerRequestDuration, seconds(v.Duration), &tuple{
			text: [maxTexts]string{c.Operation, c.Provider, request, response, v.ErrorType},
		})
	}
	if c.FirstToken > 0 {
		m.recordTuple(set, declared.MetricGenAIServerTimeToFirstToken, seconds(c.FirstToken), &tuple{
			text: [maxTexts]string{c.Operation, c.Provider, request, response},
		})
	}
	for _, tokens := range [...]struct {
		kind  string
		count int64
	}{{genai.TokenInput, c.InputTokens}, {genai.TokenOutput, c.OutputTokens}} {
		if tokens.count >= 0 {
			m.recordTuple(set, declared.MetricGenAIClientTokenUsage, float64(tokens.count), &tuple{
				text: [maxTexts]string{c.Operation, c.Provider, tokens.kind, request, response},
			})
		}
	}
}
