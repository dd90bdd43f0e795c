// SPDX-License-Identifier: Apache-2.0

// Package logrecord turns facts into log records, with one file for each family of
// events. Each string from outside passes clean.String here.
package logrecord

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/account"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord/columns"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/resource"
)

// Options configure Logs beyond the user's configuration.
type Options struct {
	HostName string
	// OwnNetNS is the network namespace that is the host's: see resource.Origin.
	OwnNetNS uint32
	// Instance begins the ids of connections.
	Instance Instance
	// Version is the scope's version, the collector's build.
	Version string
	// Now replaces the clock in tests; nil means time.Now.
	Now func() time.Time
}

// Logs gathers records into a batch. It is for one goroutine at a time.
type Logs struct {
	enabled   [declared.Events]bool
	resources *resource.Builder
	options   Options

	batch plog.Logs
	// places are the batch's records by origin. Those of refused origins have no slice.
	places map[resource.Origin]*place
	// lastOrigin and lastPlace save most look-ups.
	lastOrigin resource.Origin
	lastPlace  *place
	// lastWorkload and lastExecutable save most cleanings of a name.
	lastWorkload   *owner.Workload
	lastExecutable string

	counts   [ledger.Events]int
	length   int
	bytes    int
	observed int64

	columns [declared.Events]*columns.Columns
	// row gathers the attributes of the current record.
	row  row
	text text
	// line is a buffer for the body, before it goes into text.
	line []byte
}

type place struct {
	records plog.LogRecordSlice
	allowed bool
}

// Batch is the records that Logs has handed over. Logs never touches them again.
type Batch struct {
	Logs plog.Logs
	// Bytes is the approximate size of Logs in memory.
	Bytes int
	// Counts are the records by the event that they are accounted as.
	Counts [ledger.Events]int
}

// New makes a Logs with an empty batch. The filters of the resource attributes must be valid.
func New(config metadata.LogsBuilderConfig, options Options) *Logs {
	if options.Now == nil {
		options.Now = time.Now
	}
	l := &Logs{
		enabled:   declared.EnabledEvents(&config.Events),
		resources: resource.NewBuilder(config.ResourceAttributes, options.HostName, options.OwnNetNS, resource.EventFilters),
		options:   options,
		line:      make([]byte, 0, 256),
	}
	for event := range declared.Events {
		l.columns[event] = columns.New(event)
	}
	l.reset()
	return l
}

// Len is the number of records in the batch.
func (l *Logs) Len() int { return l.length }

// Bytes is the approximate size of the batch in memory.
func (l *Logs) Bytes() int { return l.bytes }

// Take hands the batch over and begins a new one. Logs keeps nothing of it.
func (l *Logs) Take() Batch {
	batch := Batch{Logs: l.batch, Bytes: l.bytes, Counts: l.counts}
	l.reset()
	return batch
}

func (l *Logs) reset() {
	l.batch = plog.NewLogs()
	l.places = make(map[resource.Origin]*place, len(l.places))
	l.lastOrigin, l.lastPlace = resource.Origin{}, nil
	l.counts = [ledger.Events]int{}
	l.length, l.bytes, l.observed = 0, 0, 0
	l.text = text{}
}

// Approximate sizes of a record and its parts, with the allocator's rounding. A test measures
// them.
const (
	recordBytes    = 232
	attributeBytes = 48
	resourceBytes  = 1024
)

// add appends a record, or reports that the filters refuse its resource.
func (l *Logs) add(from resource.Origin, head header) (plog.LogRecord, bool) {
	p := l.lastPlace
	if p == nil || l.lastOrigin != from {
		p = l.place(from)
		l.lastOrigin, l.lastPlace = from, p
	}
	if !p.allowed {
		return plog.LogRecord{}, false
	}
	// One reading of the clock serves all records that happened before it.
	if head.time > l.observed {
		l.observed = max(l.options.Now().UnixNano(), head.time)
	}
	l.row.Columns = l.columns[head.event]
	record := p.records.AppendEmpty()
	record.SetTimestamp(pcommon.Timestamp(head.time))
	record.SetObservedTimestamp(pcommon.Timestamp(l.observed))
	record.SetEventName(head.event.String())
	if head.failed {
		record.SetSeverityNumber(plog.SeverityNumberWarn)
		record.SetSeverityText("WARN")
	} else {
		record.SetSeverityNumber(plog.SeverityNumberInfo)
		record.SetSeverityText("INFO")
	}
	l.counts[account.Of(head.event)]++
	l.length++
	l.bytes += recordBytes
	return record, true
}

// header is what add needs to know about a record.
type header struct {
	event declared.Event
	time  int64
	// failed makes it a warning.
	failed bool
}

func (l *Logs) place(origin resource.Origin) *place {
	if p, ok := l.places[origin]; ok {
		return p
	}
	p := new(place)
	l.places[origin] = p
	var from pcommon.Resource
	if from, p.allowed = l.resources.Build(origin); !p.allowed {
		return p
	}
	group := l.batch.ResourceLogs().AppendEmpty()
	from.MoveTo(group.Resource())
	group.SetSchemaUrl(resource.SchemaURL)
	scope := group.ScopeLogs().AppendEmpty()
	scope.Scope().SetName(metadata.ScopeName)
	scope.Scope().SetVersion(l.options.Version)
	scope.SetSchemaUrl(resource.SchemaURL)
	p.records = scope.LogRecords()
	l.bytes += resourceBytes
	return p
}

// finish writes the record's attributes and returns them.
func (l *Logs) finish(record plog.LogRecord) pcommon.Map {
	l.bytes += attributeBytes * l.row.len()
	l.row.write(record.Attributes())
	return record.Attributes()
}

// body sets the record's body to the line. It returns the body, which contains the addresses.
func (l *Logs) body(record plog.LogRecord, line []byte) string {
	l.line = line[:0]
	body := l.text.add(line)
	record.Body().SetStr(body)
	l.bytes += len(body)
	return body
}
