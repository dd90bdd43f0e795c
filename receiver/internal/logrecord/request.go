// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"cmp"
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/rpc"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord/oneline"
)

// maxText bounds paths, queries and values of header fields.
const maxText = 2048

// Request appends a record of a request and reports whether it did. The view is complete. The
// process may be nil.
func (l *Logs) Request(v *httpview.View, p *owner.Process, source owner.Source) bool {
	if !l.enabled[declared.EventHTTPRequest] {
		return false
	}
	record, ok := l.add(l.resources.Origin(workload(p), v.NetNS), header{
		event: declared.EventHTTPRequest, failed: v.Failure() != "",
		time: cmp.Or(v.Request.Began, v.Answer.Began, v.Finished),
	})
	if !ok {
		return false
	}
	line, at := l.begin(declared.EventHTTPRequest, &v.Flow)
	line, path := appendRequest(l.appendProcess(line, p), v)
	body := l.body(record, line)

	row := &l.row
	l.putEndpoints(row, v, at, body)
	l.putOwner(row, p, source)
	if v.ID != 0 {
		row.str(declared.AttrConnectionID, l.connectionID(v.ID))
	}
	row.int(declared.AttrNetNSInode, int64(v.NetNS))
	if len(v.Path) > 0 {
		row.str(declared.AttrURLPath, path.Of(body))
	}
	l.putMessage(row, v)
	putTimes(row, v)
	putMarks(row, v.Exchange)
	l.putRedacted(row, v.Redacted)
	l.putGateway(row, v)
	if v.Call != nil {
		l.putCall(row, v.Call)
	}
	if v.RPC != nil {
		l.putRPC(row, v.RPC)
	}
	if problem := cmp.Or(v.Failure(), bodyProblem(v)); problem != "" {
		row.str(declared.AttrErrorType, problem)
	}
	if v.Traced {
		record.SetTraceID(v.Trace.TraceID)
		record.SetSpanID(v.Trace.SpanID)
		record.SetFlags(plog.LogRecordFlags(v.Trace.Flags))
	}
	l.putBeside(record, v)
	return true
}

// appendRequest writes method, path, status and duration. It also returns where the path is.
func appendRequest(line []byte, v *httpview.View) ([]byte, oneline.Span) {
	line = append(append(line, ' '), v.Method...)
	var path oneline.Span
	if len(v.Path) > 0 {
		line = append(line, ' ')
		path.Begin = len(line)
		line = clean.Append(line, v.Path, maxText)
		path.End = len(line)
	}
	if v.Status != 0 {
		line = strconv.AppendInt(append(line, ' '), int64(v.Status), 10)
	}
	if v.RPC != nil && v.RPC.Code != rpc.CodeAbsent {
		line = append(append(line, ' '), v.RPC.Code.String()...)
	}
	if v.Problem != request.ProblemNone {
		line = append(append(line, ' '), v.ErrorType...)
	}
	if v.Duration > 0 {
		line = oneline.Duration(append(line, ' '), v.Duration)
	}
	return line, path
}

// putEndpoints writes the socket's addresses, and those that the request is about.
func (l *Logs) putEndpoints(row *row, v *httpview.View, at endpoints, body string) {
	peer, local := v.Flow.Client, v.Flow.Server
	row.str(declared.AttrNetworkPeerAddress, at.client.Of(body))
	row.int(declared.AttrNetworkPeerPort, int64(peer.Port()))
	row.str(declared.AttrNetworkLocalAddress, at.server.Of(body))
	row.int(declared.AttrNetworkLocalPort, int64(local.Port()))
	row.str(declared.AttrNetworkType, declared.NetworkType(v.IPv4()))
	row.str(declared.AttrNetworkTransport, declared.TransportTCP)
	if v.Interface != "" {
		row.str(declared.AttrNetworkInterfaceName, clean.String(v.Interface))
	}
	row.str(declared.AttrNetworkProtocolName, declared.ProtocolHTTP)
	if v.Protocol != "" {
		row.str(declared.AttrNetworkProtocolVersion, v.Protocol)
	}
	if client := v.Detail.Client; client == peer.Addr() {
		row.str(declared.AttrClientAddress, at.client.Of(body))
	} else {
		row.str(declared.AttrClientAddress, l.keep(client.AppendTo(l.line[:0])))
	}
	if v.ClientPort != 0 {
		row.int(declared.AttrClientPort, int64(v.ClientPort))
	}
	row.int(declared.AttrServerPort, int64(cmp.Or(v.HostPort, local.Port())))
	l.putText(row, declared.AttrServerAddress, v.Host)
}

func (l *Logs) putMessage(row *row, v *httpview.View) {
	row.str(declared.AttrHTTPRequestMethod, v.Method)
	l.putText(row, declared.AttrHTTPRequestMethodOriginal, v.MethodOriginal)
	if v.Route != "" {
		row.str(declared.AttrHTTPRoute, v.Route)
	}
	row.str(declared.AttrURLScheme, v.Scheme)
	l.putText(row, declared.AttrURLQuery, v.Query)
	l.putText(row, declared.AttrUserAgentOriginal, v.UserAgent)
	if v.Status != 0 {
		row.int(declared.AttrHTTPResponseStatusCode, int64(v.Status))
	}
	if v.Request.HeadBytes > 0 && v.Request.BodyBytes >= 0 {
		row.int(declared.AttrHTTPRequestBodySize, v.Request.BodyBytes)
	}
	if v.Answer.HeadBytes > 0 && v.Answer.BodyBytes >= 0 {
		row.int(declared.AttrHTTPResponseBodySize, v.Answer.BodyBytes)
	}
}

// putTimes writes how long each part took, if both its ends are known.
func putTimes(row *row, v *httpview.View) {
	between := func(a declared.Attribute, begin, end int64) {
		if begin != 0 && end != 0 {
			row.double(a, seconds(max(0, end-begin)))
		}
	}
	if v.Problem.Unanswered() {
		between(declared.AttrHTTPWaitDuration, v.Request.Began, v.Finished)
		return
	}
	between(declared.AttrHTTPDuration, v.Request.Began, v.Answer.Ended)
	between(declared.AttrHTTPRequestDuration, v.Request.Began, v.Request.Ended)
	between(declared.AttrHTTPServerDuration, v.Request.Ended, v.Answer.Began)
	between(declared.AttrHTTPResponseDuration, v.Answer.Began, v.Answer.Ended)
}

func putMarks(row *row, e *request.Exchange) {
	if e.Retransmits >= 0 {
		row.int(declared.AttrHTTPRetransmitCount, e.Retransmits)
	}
	if e.Overlapped > 0 {
		row.int(declared.AttrHTTPOverlapSize, int64(e.Overlapped))
	}
	if e.Request.HeadCut {
		row.yes(declared.AttrHTTPRequestCut)
	}
	if e.Answer.HeadCut {
		row.yes(declared.AttrHTTPResponseCut)
	}
	if e.Switched {
		row.yes(declared.AttrHTTPSwitched)
	}
}

// putRedacted writes what was hidden. The names are few and shared by records.
func (l *Logs) putRedacted(row *row, names []string) {
	if len(names) == 0 {
		return
	}
	row.strs(declared.AttrRedacted, names)
	l.bytes += attributeBytes * len(names)
}

// putText writes text from outside, unless it is empty.
func (l *Logs) putText(row *row, a declared.Attribute, text []byte) {
	if len(text) > 0 {
		row.str(a, l.keep(clean.Append(l.line[:0], text, maxText)))
	}
}

// keep makes a string of text in the buffer for lines.
func (l *Logs) keep(text []byte) string {
	l.line = text[:0]
	l.bytes += len(text)
	return l.text.add(text)
}

// putBeside finishes the record: lists and bodies follow the attributes of the row.
func (l *Logs) putBeside(record plog.LogRecord, v *httpview.View) {
	beside := len(v.RequestHeaders) + len(v.AnswerHeaders)
	if v.RequestBody != nil {
		beside += mostOfBody
	}
	if v.AnswerBody != nil {
		beside += mostOfBody
	}
	if v.Call != nil {
		beside++
	}
	if beside > 0 {
		record.Attributes().EnsureCapacity(l.row.len() + beside)
	}
	attributes := l.finish(record)
	l.putHeaders(attributes, v.RequestHeaders)
	l.putHeaders(attributes, v.AnswerHeaders)
	if v.Call != nil {
		l.putFinishReasons(attributes, v.Call.FinishReasons)
	}
	if v.RequestBody != nil {
		l.putBody(attributes, v.RequestBody, requestBody())
	}
	if v.AnswerBody != nil {
		l.putBody(attributes, v.AnswerBody, answerBody())
	}
}

func (l *Logs) putHeaders(attributes pcommon.Map, headers []privacy.Header) {
	for i := range headers {
		values := l.beginList(attributes, clean.String(headers[i].Key), len(headers[i].Values))
		for _, value := range headers[i].Values {
			values.AppendEmpty().SetStr(l.keep(clean.Append(l.line[:0], value, maxText)))
		}
	}
}

func (l *Logs) beginList(attributes pcommon.Map, key string, n int) pcommon.Slice {
	list := attributes.PutEmptySlice(key)
	list.EnsureCapacity(n)
	l.bytes += attributeBytes * (1 + n)
	return list
}
