// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// UnderWay calls yield with each request whose head was read and that has not ended, for the
// call.
func (c *Conn) UnderWay(yield func(*request.Exchange)) {
	for p := c.first; p != nil; p = p.next {
		m := &p.message[stream.ToServer]
		if p.told || p.alone || p.held || !m.HeadDone {
			continue
		}
		e := &c.engine.out
		e.Renew(&c.Connection)
		e.Version = request.Version2
		m.FillRequest(e)
		yield(e)
	}
}
