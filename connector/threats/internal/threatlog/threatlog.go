// SPDX-License-Identifier: Apache-2.0

// Package threatlog turns findings into log records.
package threatlog

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// EventName is that of all records.
const EventName = "tcp.server.threat"

// Version of the rules. It changes with what a rule finds.
const Version = "1"

// RuleSet is the name of the rules.
const RuleSet = "ebpf_tcp_threats"

const reference = "https://github.com/ebpftcp/ebpftcpreceiver/blob/main/docs/threats.md#"

// Writer appends records of findings.
type Writer struct {
	scopeName, version string
	doubles            []string
}

// NewWriter makes a writer for a component.
func NewWriter(scopeName, version string) *Writer {
	return &Writer{scopeName, version, catalogue.Doubles()}
}

// Logs has a record for each finding. The resource names the host if there is only one.
func (w *Writer) Logs(findings []*finding.Finding) plog.Logs {
	logs := plog.NewLogs()
	for _, f := range findings {
		resource := logs.ResourceLogs().AppendEmpty()
		if len(f.Hosts) == 1 {
			resource.Resource().Attributes().PutStr("host.name", clean.String(f.Hosts[0]))
		}
		scope := resource.ScopeLogs().AppendEmpty()
		scope.Scope().SetName(w.scopeName)
		scope.Scope().SetVersion(w.version)
		w.write(scope.LogRecords().AppendEmpty(), f)
	}
	return logs
}

func (w *Writer) write(record plog.LogRecord, f *finding.Finding) {
	rule := &catalogue.All[f.Rule]
	record.SetEventName(EventName)
	record.SetTimestamp(pcommon.Timestamp(f.At))
	record.SetObservedTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	setSeverity(record, rule.Severity)
	record.Body().SetStr(line(f))

	a := record.Attributes()
	a.EnsureCapacity(24)
	a.PutStr("security_rule.name", nameOf(f))
	a.PutStr("security_rule.category", rule.Category)
	a.PutStr("security_rule.description", rule.Description)
	a.PutStr("security_rule.ruleset.name", RuleSet)
	a.PutStr("security_rule.version", Version)
	a.PutStr("security_rule.reference", reference+rule.Name)
	a.PutStr("tcp.threat.state", f.State.String())
	if f.State == finding.Summary {
		a.PutInt("tcp.threat.suppressed.count", int64(f.Suppressed))
		return
	}
	a.PutStr("tcp.threat.id", strconv.FormatUint(f.ID, 36))
	a.PutInt("tcp.threat.evidence", int64(f.Count))
	if f.Score == nil {
		a.PutDouble("tcp.threat.confidence", f.Confidence)
	}
	a.PutBool("tcp.threat.spoofable", f.Spoofable)
	a.PutInt("tcp.threat.first.time_unix_nano", f.First)
	a.PutInt("tcp.threat.last.time_unix_nano", f.Last)
	putSource(a, f)
	putService(a, f)
	for _, fact := range f.Facts {
		if slices.Contains(w.doubles, fact.Key) {
			a.PutDouble(fact.Key, fact.Value)
		} else if fact.Key != "tcp.threat.source.count" {
			a.PutInt(fact.Key, int64(fact.Value))
		}
	}
	putFingerprint(a, f)
	if f.User != "" {
		a.PutStr("user.name", clean.String(f.User))
	}
	if len(f.Signatures) > 0 {
		putStrings(a.PutEmptySlice("tcp.threat.signatures"), f.Signatures)
	}
	if f.Score != nil {
		putScore(a, f.Score)
	}
}

func setSeverity(record plog.LogRecord, severity finding.Severity) {
	number, text := plog.SeverityNumberInfo, "INFO"
	switch severity {
	case finding.Warn:
		number, text = plog.SeverityNumberWarn, "WARN"
	case finding.Error:
		number, text = plog.SeverityNumberError, "ERROR"
	}
	record.SetSeverityNumber(number)
	record.SetSeverityText(text)
}

func putSource(a pcommon.Map, f *finding.Finding) {
	if f.Source.IsValid() {
		a.PutStr("client.address", f.Source.String())
		a.PutStr("network.type", networkType(f.Source.Is4()))
	}
	if f.Prefix.IsValid() {
		a.PutStr("tcp.source.prefix", f.Prefix.String())
	}
	if f.Peer.IsValid() {
		a.PutStr("network.peer.address", f.Peer.String())
	}
	if f.SourceCount > 0 {
		putStrings(a.PutEmptySlice("tcp.threat.sources"), f.Sources)
		a.PutInt("tcp.threat.source.count", int64(f.SourceCount))
	}
}

func networkType(ipv4 bool) string {
	if ipv4 {
		return "ipv4"
	}
	return "ipv6"
}

func putService(a pcommon.Map, f *finding.Finding) {
	if f.Server.IsValid() {
		a.PutStr("server.address", f.Server.String())
	}
	if f.Port != 0 {
		a.PutInt("server.port", int64(f.Port))
	}
	if f.Process != "" {
		a.PutStr("process.executable.name", clean.String(f.Process))
	}
	if len(f.Hosts) > 0 {
		putStrings(a.PutEmptySlice("tcp.threat.hosts"), f.Hosts)
	}
}

func putStrings(to pcommon.Slice, texts []string) {
	to.EnsureCapacity(len(texts))
	for _, text := range texts {
		to.AppendEmpty().SetStr(clean.String(text))
	}
}

// ja3Length is that of an MD5 sum in hexadecimal digits.
const ja3Length = 32

func putFingerprint(a pcommon.Map, f *finding.Finding) {
	if f.Fingerprint == "" {
		return
	}
	key := "tcp.tls.client.ja4"
	if len(f.Fingerprint) == ja3Length {
		key = "tls.client.ja3"
	}
	a.PutStr(key, f.Fingerprint)
	if f.Label != "" {
		a.PutStr("tcp.threat.list.label", f.Label)
	}
}

// line is the body, for people.
func line(f *finding.Finding) string {
	rule := &catalogue.All[f.Rule]
	if f.State == finding.Summary {
		return fmt.Sprintf("%s %s: %d more findings in the last minute", EventName, rule.Name, f.Suppressed)
	}
	who := ""
	switch {
	case f.Source.IsValid():
		who = " from " + f.Source.String()
	case f.SourceCount > 0:
		who = fmt.Sprintf(" from %d sources", f.SourceCount)
	}
	if f.Server.IsValid() {
		who += " on " + f.Server.String()
		if f.Port != 0 {
			who += " port " + strconv.Itoa(int(f.Port))
		}
	}
	if f.Score != nil {
		return fmt.Sprintf("%s %s %s%s: score %.3g", EventName, nameOf(f), f.State, who, f.Score.Value)
	}
	return fmt.Sprintf("%s %s %s%s: %d × %s", EventName, rule.Name, f.State, who, f.Count, rule.Evidence)
}
