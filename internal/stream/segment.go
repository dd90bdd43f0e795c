// SPDX-License-Identifier: Apache-2.0

// Package stream puts the segments of a TCP connection together again, as far as their bytes
// are wanted.
package stream

// Direction is one of the two streams of a connection.
type Direction uint8

// Directions.
const (
	ToServer Direction = iota
	ToClient
	Directions
)

// Reverse is the other direction.
func (d Direction) Reverse() Direction { return ToClient - d }

// Segment is what the kernel side saw of one segment, or a piece of a large one. It is only
// valid during a call.
type Segment struct {
	Direction Direction
	// Sequence is the number of the first byte of Data, or of the byte that would follow if
	// Data is empty. Acknowledgment is the segment's.
	Sequence, Acknowledgment uint32
	// AcknowledgedTime is when the last byte that it acknowledges passed, if that did not
	// cross; 0 if unknown.
	AcknowledgedTime int64
	// Data are the bytes that were copied.
	Data []byte
	// Left are bytes of the segment after Data that were not copied.
	Left uint32
	// Skipped are bytes of the segment before Data that were not wanted. It tells a segment
	// that ends a body from one that follows it.
	Skipped uint32
	// Time is when it passed, Unix nanoseconds.
	Time int64
	// Begins is set if the kernel side saw the SYN, so that the stream to the server begins
	// with this segment or was reordered before it. To the client, it is set if the server speaks
	// HTTP/2 first: its stream begins with the segment, and the client has sent nothing.
	Begins bool
	// First is the number of the first byte to the server if Begins is set; 0 if unknown.
	First uint32
	// Joined is set if the kernel side did not know the connection: it is new, older than the
	// inspection, or its entry was displaced. What is wanted must be told again.
	Joined bool
	// Frames is set if the kernel side follows the frames of HTTP/2 in this direction: what is
	// missing before Data is the rest of a frame of DATA and whole ones, which do not end
	// their streams.
	Frames bool
	// Number counts the segments of this direction that crossed while the kernel side followed the
	// frames, from 1 on, modulo 256. Records of two processors can come in another order. What is
	// missing before Data will come as long as the segment with the number before has not.
	Number uint8
	// More is set if further pieces of the segment follow.
	More bool
	// FIN and RST are the flags of the segment. A FIN follows the last byte.
	FIN, RST bool
	// Retransmits counts all segments that this host sent again on the connection. It is only
	// known ToClient; else -1.
	Retransmits int64
}

// Before reports whether one sequence number comes before another.
func Before(a, b uint32) bool { return int32(a-b) < 0 }
