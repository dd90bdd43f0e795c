// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// Failed appends a record of an attempt that came to nothing and reports whether it did.
func (l *Logs) Failed(f *connection.Failed) bool {
	if !l.events.TCPServerConnectionFailed.Enabled {
		return false
	}
	record, ok := l.add(l.resources.Origin(owner.Container{}, f.NetNS), header{
		event: declared.EventFailed, time: f.Time, failed: true, account: ledger.Failed,
	})
	if !ok {
		return false
	}
	errorType := f.Type.String()
	line, at := l.begin(declared.EventFailed, &f.Flow)
	body := l.body(record, append(append(line, ' '), errorType...))

	row := &l.row
	putFlow(row, &f.Flow, at, body, f.Interface)
	row.int(attrNetNS, int64(f.NetNS))
	row.str(attrErrorType, errorType)
	l.finish(record)
	return true
}
