// SPDX-License-Identifier: Apache-2.0

// Package blocklog turns decisions into log records.
package blocklog

import (
	"fmt"
	"net/netip"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// Names of the events.
const (
	Blocked   = "tcp.server.source.blocked"
	Unblocked = "tcp.server.source.unblocked"
	Refused   = "tcp.server.source.block_refused"
)

// Event is a decision that is told.
type Event struct {
	Name string
	At   time.Time
	Mode string
	// Key is what is blocked; invalid if a record named no address.
	Key   netip.Prefix
	Block blocks.Block
	// Left is how long a new block lasts; blocks.Forever if only its origin ends it.
	Left time.Duration
	// Cause is why a block ended, Refusal why there is none, AllowedBy what allows the source.
	Cause     blocks.Cause
	Refusal   blocks.Refusal
	AllowedBy string
	// Counted says that Packets and Bytes are known.
	Counted        bool
	Packets, Bytes uint64
}

// Writer makes records of events.
type Writer struct {
	scope, version, host string
}

// NewWriter makes a writer for a component on a host, whose name may be empty.
func NewWriter(scope, version, host string) *Writer { return &Writer{scope, version, host} }

// Logs has a record for each event.
func (w *Writer) Logs(events []*Event) plog.Logs {
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	if w.host != "" {
		resource.Resource().Attributes().PutStr("host.name", clean.String(w.host))
	}
	scope := resource.ScopeLogs().AppendEmpty()
	scope.Scope().SetName(w.scope)
	scope.Scope().SetVersion(w.version)
	records := scope.LogRecords()
	records.EnsureCapacity(len(events))
	for _, e := range events {
		write(records.AppendEmpty(), e)
	}
	return logs
}

func write(record plog.LogRecord, e *Event) {
	record.SetEventName(e.Name)
	record.SetTimestamp(pcommon.NewTimestampFromTime(e.At))
	record.SetObservedTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	record.SetSeverityNumber(plog.SeverityNumberInfo)
	record.SetSeverityText("INFO")
	if e.Name != Unblocked {
		record.SetSeverityNumber(plog.SeverityNumberWarn)
		record.SetSeverityText("WARN")
	}
	record.Body().SetStr(line(e))

	a := record.Attributes()
	a.EnsureCapacity(14)
	putText(a, "security_rule.name", e.Block.Rule)
	a.PutStr("tcp.block.origin", e.Block.Origin.Kind.String())
	a.PutStr("tcp.block.mode", e.Mode)
	putText(a, "tcp.block.reason", e.Block.Reason)
	putText(a, "tcp.block.cause", string(e.Cause))
	putText(a, "tcp.block.refusal", string(e.Refusal))
	putText(a, "tcp.block.allowed_by", e.AllowedBy)
	if e.Block.Evidence > 0 {
		a.PutInt("tcp.block.evidence", int64(e.Block.Evidence))
	}
	if e.Block.Step > 0 && e.Name != Refused {
		a.PutInt("tcp.block.step", int64(e.Block.Step))
	}
	if e.Name == Blocked && e.Left != blocks.Forever {
		a.PutDouble("tcp.block.ttl", e.Left.Seconds())
	}
	if e.Counted {
		a.PutInt("tcp.block.packets", int64(e.Packets))
		a.PutInt("tcp.block.bytes", int64(e.Bytes))
	}
	putKey(a, e.Key)
}

func putText(a pcommon.Map, key, text string) {
	if text != "" {
		a.PutStr(key, clean.String(text))
	}
}

func putKey(a pcommon.Map, key netip.Prefix) {
	if !key.IsValid() {
		return
	}
	a.PutStr("tcp.source.prefix", key.String())
	if key.IsSingleIP() {
		a.PutStr("client.address", key.Addr().String())
	}
	if key.Addr().Is4() {
		a.PutStr("network.type", "ipv4")
	} else {
		a.PutStr("network.type", "ipv6")
	}
}

// line is the body, for people.
func line(e *Event) string {
	who := "a source without address"
	if e.Key.IsValid() {
		who = e.Key.String()
		if e.Key.IsSingleIP() {
			who = e.Key.Addr().String()
		}
	}
	by := e.Block.Origin.Kind.String()
	if e.Block.Rule != "" {
		by += " " + clean.String(e.Block.Rule)
	}
	switch e.Name {
	case Blocked:
		until := "until it is lifted"
		if e.Left != blocks.Forever {
			until = "for " + e.Left.Round(time.Second).String()
		}
		return fmt.Sprintf("%s %s %s by %s (%s)", e.Name, who, until, by, e.Mode)
	case Unblocked:
		if e.Counted {
			return fmt.Sprintf("%s %s, block by %s %s: %d packets, %d bytes (%s)", e.Name, who, by, e.Cause, e.Packets, e.Bytes, e.Mode)
		}
		return fmt.Sprintf("%s %s, block by %s %s (%s)", e.Name, who, by, e.Cause, e.Mode)
	}
	return fmt.Sprintf("%s %s by %s: %s", e.Name, who, by, e.Refusal)
}
