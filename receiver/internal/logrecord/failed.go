// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// Failed appends a record of a failed attempt and reports whether it did. The process is the
// listener's; it may be nil.
func (l *Logs) Failed(f *connection.Failed, p *owner.Process) bool {
	if !l.enabled[declared.EventConnectionFailed] {
		return false
	}
	record, ok := l.add(l.resources.Origin(workload(p), f.NetNS), header{
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
	if p != nil {
		if name := l.executable(p); name != "" {
			row.str(declared.AttrProcessExecutableName, name)
		}
	}
	row.int(declared.AttrNetNSInode, int64(f.NetNS))
	row.str(declared.AttrErrorType, errorType)
	l.finish(record)
	return true
}
