// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// UnderWay calls yield with each request that has a whole start line and no end, for the call.
func (c *Conn) UnderWay(yield func(*request.Exchange)) {
	for p := c.turns.First; p != nil; p = p.Next {
		m := &p.Message[stream.ToServer]
		if p.Told || p.Alone || !m.HeadDone && bytes.IndexByte(m.Head, '\n') < 0 {
			continue
		}
		e := c.engine.renew(c)
		p.FillRequest(e)
		if !m.HeadDone {
			e.Request.SetFields(e.Request.Fields()[:0]...) // the last one may be cut
		}
		yield(e)
	}
}
