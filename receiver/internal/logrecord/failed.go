// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// Failed appends a record of a failed attempt and reports whether it did.
func (l *Logs) Failed(f *connection.Failed) bool {
	if !l.enabled[declared.EventConnectionFailed] {
		return false
	}
	record, ok := l.add(l.resources.Origin(owner.Container{}, f.NetNS), header{
		event: declared.EventConnectionFailed, time: f.Time, failed: true,
	})
	if !ok {
		return false
	}
	errorType := f.Type.String()
	line, at := l.begin(declared.EventConnectionFailed, &f.Flow)
	body := l.body(record, append(append(line, ' '), errorType...))

	row := &l.row
	putFlow(row, &f.Flow, at, body, f.Interface)
	row.int(declared.AttrNetNSInode, int64(f.NetNS))
	row.str(declared.AttrErrorType, errorType)
	l.finish(record)
	return true
}
