// SPDX-License-Identifier: Apache-2.0

// Package order puts the segments of HTTP/2 in the order in which the kernel side walked them.
package order

import (
	"slices"

	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// maxEarly is how many segments of a direction can come before others that were sent before them.
const maxEarly = 16

// maxAhead divides numbers that come from those that were.
const maxAhead = 127

// Early is a segment that came before the one with the number before.
type Early struct {
	number uint8
	// Begin is the first of its bytes that crossed, and passed at a Time, Unix nanoseconds. Ended: all of
	// them are here.
	Begin uint32
	Time  int64
	Ended bool
	// end is where its next piece begins.
	end uint32
}

// Order puts the segments of a direction in order whose frames the kernel side follows: it numbers
// those that cross. What is missing between two of them is DATA, if no number is. Two processors can
// write the records of one direction, so that pieces of a segment come between those of another.
// The zero value is ready.
type Order struct {
	// now is the number of the segment that is being read, or comes next, if counted is set.
	now     uint8
	counted bool
	// within is set while pieces of it follow; the next one begins at a sequence number.
	within bool
	at     uint32
	early  []Early
}

// Turn says when a segment is to be read.
type Turn uint8

// Turns.
const (
	// Now: what is missing before it is DATA.
	Now Turn = iota
	// Later: other segments come before it.
	Later
	// Unknown: the kernel side does not follow the frames, or its count is another: it has restarted, or
	// two processors gave one number to two segments.
	Unknown
	// Past: segments that come behind it were read, and all of its bytes were read or given up.
	Past
)

// Begin says that the next segment is the first that is counted.
func (o *Order) Begin() { *o = Order{now: 1, counted: true, early: o.early[:0]} }

// Take takes a segment of a direction whose next byte has a number. One that comes too early is
// remembered.
func (o *Order) Take(s *stream.Segment, next uint32) Turn {
	if !s.Frames {
		o.Begin()
		return Unknown
	}
	ahead := s.Number - o.now
	switch {
	case !o.counted:
	case ahead == 0 && (!o.within || s.Sequence == o.at):
	case 0 < ahead && ahead <= maxEarly && o.remember(s):
		return Later
	case ahead > maxAhead && !stream.Before(next, s.Sequence+uint32(len(s.Data))):
		return Past
	default:
		o.SkipTo(s)
		return Unknown
	}
	o.reach(s)
	return Now
}

// reach says that a segment is being read.
func (o *Order) reach(s *stream.Segment) {
	o.now, o.counted = s.Number, true
	o.goOn(s.More, s.Sequence+uint32(len(s.Data)))
}

// goOn says how far the segment is here whose turn it is.
func (o *Order) goOn(more bool, at uint32) {
	if o.within, o.at = more, at; !more {
		o.now++
	}
}

// SkipTo says that nobody waits any more for what comes before a segment, nor for its bytes.
func (o *Order) SkipTo(s *stream.Segment) {
	o.early = slices.DeleteFunc(o.early, func(e Early) bool { return s.Number-e.number <= maxAhead })
	o.reach(s)
}

// remember keeps when a segment begins. It reports false without room.
func (o *Order) remember(s *stream.Segment) bool {
	end := s.Sequence + uint32(len(s.Data))
	for i := range o.early {
		e := &o.early[i]
		if e.number != s.Number {
			continue
		}
		if stream.Before(s.Sequence, e.Begin) {
			e.Begin, e.Time = s.Sequence, s.Time
		}
		e.Ended, e.end = e.Ended || !s.More, end
		return true
	}
	if len(o.early) == maxEarly {
		return false
	}
	o.early = append(o.early, Early{number: s.Number, Begin: s.Sequence, Time: s.Time, Ended: !s.More, end: end})
	return true
}

// Next returns the segment whose turn it is, if that came too early.
func (o *Order) Next() (Early, bool) {
	for i, e := range o.early {
		if e.number != o.now {
			continue
		}
		o.early = slices.Delete(o.early, i, i+1)
		o.goOn(!e.Ended, e.end)
		return e, true
	}
	return Early{}, false
}
