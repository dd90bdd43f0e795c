// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// putCall writes what is known of a call to a language model.
func (l *Logs) putCall(row *row, c *httpview.Call) {
	row.str(declared.AttrGenAIOperationName, c.Operation)
	row.str(declared.AttrGenAIProviderName, c.Provider)
	l.putText(row, declared.AttrGenAIRequestModel, c.RequestModel)
	if c.Stream {
		row.yes(declared.AttrGenAIRequestStream)
	}
	l.putText(row, declared.AttrGenAIResponseModel, c.ResponseModel)
	l.putText(row, declared.AttrGenAIResponseID, c.ResponseID)
	if c.FirstToken > 0 {
		row.double(declared.AttrGenAIResponseTimeToFirstChunk, seconds(c.FirstToken))
	}
	putTokens(row, declared.AttrGenAIUsageInputTokens, c.InputTokens)
	putTokens(row, declared.AttrGenAIUsageOutputTokens, c.OutputTokens)
	putTokens(row, declared.AttrGenAIUsageCacheReadInputTokens, c.CacheReadTokens)
	putTokens(row, declared.AttrGenAIUsageCacheCreationInputTokens, c.CacheCreationTokens)
	putTokens(row, declared.AttrGenAIUsageReasoningOutputTokens, c.ReasoningTokens)
}

// putTokens writes a count that is known.
func putTokens(row *row, a declared.Attribute, n int64) {
	if n >= 0 {
		row.int(a, n)
	}
}

func (l *Logs) putFinishReasons(to pcommon.Map, reasons [][]byte) {
	if len(reasons) == 0 {
		return
	}
	list := l.beginList(to, declared.AttrGenAIResponseFinishReasons.Key(), len(reasons))
	for _, reason := range reasons {
		list.AppendEmpty().SetStr(l.keep(clean.Append(l.line[:0], reason, maxText)))
	}
}
