// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/sourceview"
)

// Source appends a record about a source or a service and reports whether it did. The process
// may be nil.
func (l *Logs) Source(v *sourceview.View, p *owner.Process) bool {
	if !l.enabled[v.Event] {
		return false
	}
	record, ok := l.add(l.resources.Origin(workload(p), v.NetNS), header{event: v.Event, time: v.Time})
	if !ok {
		return false
	}
	body := l.body(record, l.appendProcess(append(l.line[:0], v.Line...), p))
	for i := range v.Values {
		switch value := &v.Values[i]; {
		case value.Kind == sourceview.Int:
			l.row.int(value.Attribute, value.Int)
		case value.Kind == sourceview.Double:
			l.row.double(value.Attribute, value.Double)
		case value.Text != "":
			l.row.str(value.Attribute, value.Text)
		default:
			l.row.str(value.Attribute, body[value.Begin:value.End])
		}
	}
	l.putOwner(&l.row, p, owner.None)
	l.finish(record)
	return true
}
