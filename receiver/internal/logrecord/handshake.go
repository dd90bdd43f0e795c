// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord/oneline"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/tlsview"
)

// Handshake appends a record of a TLS handshake and reports whether it did. The process may be
// nil.
func (l *Logs) Handshake(h *tlsview.View, p *owner.Process, source owner.Source) bool {
	if !l.enabled[declared.EventTLSHandshake] {
		return false
	}
	failure := h.ErrorType()
	record, ok := l.add(l.resources.Origin(workload(p), h.NetNS), header{
		event: declared.EventTLSHandshake, failed: failure != "", time: h.Began,
	})
	if !ok {
		return false
	}
	line, at := l.begin(declared.EventTLSHandshake, &h.Flow)
	line, name := appendHandshake(l.appendProcess(line, p), h, failure)
	body := l.body(record, line)

	row := &l.row
	putFlow(row, &h.Flow, at, body, h.Interface)
	l.putSocket(row, h, at, body)
	if len(h.Name) > 0 {
		row.str(declared.AttrServerAddress, name.Of(body))
	}
	l.putOwner(row, p, source)
	if h.ID != 0 {
		row.str(declared.AttrConnectionID, l.connectionID(h.ID))
	}
	row.int(declared.AttrNetNSInode, int64(h.NetNS))
	l.putChoice(row, h)
	l.putOutcome(row, h)
	if failure != "" {
		row.str(declared.AttrErrorType, failure)
	}
	l.putRedacted(row, h.Redacted)
	l.putOffers(record, h)
	return true
}

// appendHandshake writes the name, the version, the failure and the duration. It also returns
// where the name is.
func appendHandshake(line []byte, h *tlsview.View, failure string) ([]byte, oneline.Span) {
	var name oneline.Span
	if len(h.Name) > 0 {
		line = append(line, ' ')
		name.Begin = len(line)
		line = clean.Append(line, h.Name, maxText)
		name.End = len(line)
	}
	if version := tls.VersionName(h.Version); version != "" {
		line = append(append(line, " TLS "...), version...)
	}
	if failure != "" {
		line = append(append(line, ' '), failure...)
	}
	if d := h.Ended - h.Began; d > 0 && h.Outcome != tls.OutcomeUnknown {
		line = oneline.Duration(append(line, ' '), d)
	}
	return line, name
}

// putSocket writes the ends of the socket: server.address is what the client asks for, and
// client.address the client behind a trusted proxy.
func (l *Logs) putSocket(row *row, h *tlsview.View, at endpoints, body string) {
	row.absent(declared.AttrServerAddress)
	if h.Client != h.Flow.Client {
		row.str(declared.AttrClientAddress, l.keep(h.Client.Addr().AppendTo(l.line[:0])))
		row.absent(declared.AttrClientPort)
		if port := h.Client.Port(); port != 0 {
			row.int(declared.AttrClientPort, int64(port))
		}
	}
	row.str(declared.AttrNetworkPeerAddress, at.client.Of(body))
	row.int(declared.AttrNetworkPeerPort, int64(h.Flow.Client.Port()))
	row.str(declared.AttrNetworkLocalAddress, at.server.Of(body))
	row.int(declared.AttrNetworkLocalPort, int64(h.Server.Port()))
}

// putChoice writes what the server chose.
func (l *Logs) putChoice(row *row, h *tlsview.View) {
	if h.Answered == 0 {
		return
	}
	row.double(declared.AttrTLSAnswerDuration, seconds(max(0, h.Answered-h.Began)))
	if version := tls.VersionName(h.Version); version != "" {
		row.str(declared.AttrTLSProtocolVersion, version)
		row.str(declared.AttrTLSProtocolName, tls.ProtocolName(h.Version))
	}
	row.str(declared.AttrTLSCipher, l.keep(tls.AppendCipher(l.line[:0], h.Cipher)))
	l.putText(row, declared.AttrTLSNextProtocol, h.Protocol)
	if h.ResumedKnown {
		row.bool(declared.AttrTLSResumed, h.Resumed)
	}
}

// putOutcome writes how the handshake ended, and the fingerprints of the hello.
func (l *Logs) putOutcome(row *row, h *tlsview.View) {
	if len(h.JA3) > 0 {
		row.str(declared.AttrTLSClientJa3, l.keep(append(l.line[:0], h.JA3...)))
	}
	if len(h.JA4) > 0 {
		row.str(declared.AttrTLSClientJa4, l.keep(clean.Append(l.line[:0], h.JA4, maxText)))
	}
	if h.Retried {
		row.yes(declared.AttrTLSRetried)
	}
	if h.Alerted {
		row.str(declared.AttrTLSAlert, l.keep(tls.AppendAlert(l.line[:0], h.Alert)))
	}
	if h.Outcome == tls.OutcomeUnknown {
		return
	}
	row.bool(declared.AttrTLSEstablished, h.Outcome == tls.OutcomeCompleted)
	row.double(declared.AttrTLSDuration, seconds(max(0, h.Ended-h.Began)))
	if by := h.By.String(); by != "" {
		row.str(declared.AttrTLSEndedBy, by)
	}
}

// putOffers finishes the record with the lists of what the client offers.
func (l *Logs) putOffers(record plog.LogRecord, h *tlsview.View) {
	record.Attributes().EnsureCapacity(l.row.len() + 2)
	attributes := l.finish(record)
	if !h.Offered {
		return
	}
	var list pcommon.Slice
	put := func(a declared.Attribute, text []byte) bool {
		if list == (pcommon.Slice{}) {
			list = l.beginList(attributes, a.Key(), 0)
		}
		l.bytes += attributeBytes
		list.AppendEmpty().SetStr(l.keep(text))
		return list.Len() < tlsview.MaxOffers
	}
	for version := range h.Hello.OfferedVersion {
		if !put(declared.AttrTLSClientVersions, tls.AppendVersion(l.line[:0], version)) {
			break
		}
	}
	list = pcommon.Slice{}
	for _, name := range h.Offers {
		put(declared.AttrTLSClientProtocols, clean.Append(l.line[:0], name, maxText))
	}
}
