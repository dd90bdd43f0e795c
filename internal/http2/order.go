// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"slices"

	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// maxEarly is how many segments of a direction can come before others that were sent before them.
const maxEarly = 16

// early is a segment that came before the one with the number before.
type early struct {
	number uint8
	// begin is the first of its bytes that crossed, and passed at a time. ended: all of them are here.
	begin uint32
	time  int64
	ended bool
}

// order puts the segments of a direction in order whose frames the kernel side follows: it numbers
// those that cross. What is missing between two of them is DATA, if no number is. Two processors can
// write the records of one direction, so that pieces of a segment come between those of another.
type order struct {
	// now is the number of the segment that is being read, or comes next, if counted is set.
	now     uint8
	counted bool
	early   []early
}

// turn says when a segment is to be read.
type turn uint8

const (
	// turnNow: what is missing before it is DATA.
	turnNow turn = iota
	// turnLater: other segments come before it.
	turnLater
	// turnUnknown: the kernel side does not follow the frames, or its count is another.
	turnUnknown
)

// begin says that the next segment is the first that is counted.
func (o *order) begin() { o.now, o.counted, o.early = 1, true, o.early[:0] }

// take takes a segment. One that comes too early is remembered.
func (o *order) take(s *stream.Segment) turn {
	if !s.Frames {
		o.begin()
		return turnUnknown
	}
	ahead, turn := s.Number-o.now, turnNow
	switch {
	case !o.counted, ahead == 0:
	case ahead <= maxEarly && o.remember(s):
		return turnLater
	default:
		o.begin()
		turn = turnUnknown
	}
	if o.now, o.counted = s.Number, true; !s.More {
		o.now++
	}
	return turn
}

// remember keeps when a segment begins. It reports false without room.
func (o *order) remember(s *stream.Segment) bool {
	for i := range o.early {
		e := &o.early[i]
		if e.number != s.Number {
			continue
		}
		if stream.Before(s.Sequence, e.begin) {
			e.begin, e.time = s.Sequence, s.Time
		}
		e.ended = e.ended || !s.More
		return true
	}
	if len(o.early) == maxEarly {
		return false
	}
	o.early = append(o.early, early{number: s.Number, begin: s.Sequence, time: s.Time, ended: !s.More})
	return true
}

// next returns the segment whose turn it is, if that came too early.
func (o *order) next() (early, bool) {
	for i, e := range o.early {
		if e.number != o.now {
			continue
		}
		o.early = slices.Delete(o.early, i, i+1)
		if e.ended {
			o.now++
		}
		return e, true
	}
	return early{}, false
}
