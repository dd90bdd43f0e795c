// SPDX-License-Identifier: Apache-2.0

// Package inspect is the vantage point on what packets carry. Its programs copy the bytes
// that are wanted of inspected ports, and keep for each connection which bytes those are:
// see bpf/inspect. Here they become segments of connections, and the table of exchanges turns
// those into requests.
package inspect

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Gives is what is lost without the programs, for people.
const Gives = "tcp.server.http.request, http.server.request.duration, tcp.server.tls.handshake"

// Taker takes the segments of inspected connections. Both arguments are only valid during
// the call.
type Taker interface {
	Segment(*request.Connection, *stream.Segment)
}

// Figures are running totals since the start.
type Figures struct {
	// Segments were wanted, in pieces of at most 16 KiB. Lost of these found no room in the
	// ring buffer.
	Segments, Lost uint64
	// Bytes were copied.
	Bytes uint64
	// Beyond are segments that were too far behind what was wanted.
	Beyond uint64
	// Displaced are connections whose entry another one took. Unjoined are segments of
	// connections without an entry that were over their share of a second.
	Displaced, Unjoined uint64
	// Waiting are bytes in the ring buffer, Ring is its size.
	Waiting, Ring int
}
