// SPDX-License-Identifier: Apache-2.0

package stream

import "github.com/ebpftcp/ebpftcpreceiver/internal/flow"

// Key identifies a connection.
type Key struct {
	flow.Flow
	NetNS uint32
}

// Port is what is wanted of the bodies on a server's port, in bytes: how they begin, and how
// those of answers end.
type Port struct{ RequestBody, AnswerBody, AnswerTail int }

// Bounds are those of a direction.
func (p *Port) Bounds(d Direction) (first, tail int) {
	if d == ToServer {
		return p.RequestBody, 0
	}
	return p.AnswerBody, p.AnswerTail
}

// Loss is why something was not followed.
type Loss uint8

// Losses.
const (
	// LossBudget are requests that were not followed, because not even what is known of each
	// had room. Buffers that reach their limit alone cut heads and bodies.
	LossBudget Loss = iota
	// LossTable are connections that others displaced.
	LossTable
	// LossDepth are requests beyond those that a connection can have under way.
	LossDepth
	// LossUnproven are what may have been requests, or bodies that look alike.
	LossUnproven
	Losses
)

// Options are those of all protocols. No function is nil.
type Options struct {
	// HeadBytes is how much of a head is kept.
	HeadBytes int
	// Ports says what is wanted of bodies.
	Ports func(port uint16) Port
	// Want tells the kernel side from which byte on a direction is wanted.
	Want func(key *Key, d Direction, seq uint32)
	// Passed returns the end and the time of the last segment with data that passed in a
	// direction; 0 if unknown. It gives the time of a body's end that did not cross.
	Passed func(key *Key, d Direction) (end uint32, when int64)
	// Follows reports whether the kernel side follows the frames of a direction.
	Follows func(key *Key, d Direction) bool
	// Follow tells the kernel side where a frame begins. If it is there that the next segment
	// goes on, the kernel side follows the frames from then on.
	Follow func(key *Key, d Direction, seq uint32)
	// Widen tells the kernel side that a direction speaks HTTP/2, which it does not know.
	Widen func(key *Key, d Direction)
	// Lost counts what was not followed.
	Lost func(reason Loss, n int)
}

// Figures are what all connections add to.
type Figures struct {
	// Gaps are holes in what was wanted; Overlapped bytes that came again with another
	// content; Late answers to requests that had been reported as idle.
	Gaps, Overlapped, Late uint64
	// Reported are all exchanges that were reported.
	Reported uint64
}
