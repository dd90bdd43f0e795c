// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/rpc"
)

// Selection says which exchanges become records. One reason is enough.
type Selection struct {
	// SampleRate selects one in this many; 0 selects none.
	SampleRate int
	// MinDuration selects those that take at least as long; 0 selects none.
	MinDuration time.Duration
	// Statuses has a mark for each status that is selected.
	Statuses [1000]bool
	// Codes has a mark for each code of gRPC that is selected.
	Codes [rpc.Codes]bool
	// Problems selects those without a request or without an answer, and malformed ones.
	Problems bool
}

// Selects reports whether an exchange becomes a record.
func (v *Viewer) Selects(view *View) bool {
	s := &v.options.Select
	if s.SampleRate > 0 {
		if v.since++; v.since >= s.SampleRate {
			v.since = 0
			return true
		}
	}
	took := view.Duration
	if took == 0 && view.Request.Began != 0 {
		took = view.Finished - view.Request.Began
	}
	return s.MinDuration > 0 && took >= int64(s.MinDuration) ||
		0 <= view.Status && view.Status < len(s.Statuses) && s.Statuses[view.Status] ||
		s.Problems && view.Problem != 0 ||
		view.RPC != nil && view.RPC.Code >= 0 && s.Codes[view.RPC.Code]
}
