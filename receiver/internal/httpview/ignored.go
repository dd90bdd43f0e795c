// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"sync/atomic"

	"github.com/ebpftcp/ebpftcpreceiver/internal/forwarded"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tracecontext"
)

// ignored counts header fields that were not believed or not understood.
type ignored struct {
	traces  [tracecontext.Faults]atomic.Int64
	clients [forwarded.Faults]atomic.Int64
}

func (i *ignored) traceContext(f tracecontext.Fault) {
	if f != tracecontext.None {
		i.traces[f].Add(1)
	}
}

func (i *ignored) forwarded(f forwarded.Fault) {
	if f != forwarded.None {
		i.clients[f].Add(1)
	}
}

// Ignored reports how many header fields were ignored since the start, by reason. It is
// safe for concurrent use. Without a Viewer, nothing was ignored.
func (v *Viewer) Ignored(report func(reason string, n int64)) {
	from := &ignored{}
	if v != nil {
		from = &v.ignored
	}
	for f := tracecontext.None + 1; f < tracecontext.Faults; f++ {
		report(f.String(), from.traces[f].Load())
	}
	for f := forwarded.None + 1; f < forwarded.Faults; f++ {
		report(f.String(), from.clients[f].Load())
	}
}
