// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// numbered makes a segment of what a side has written, and leaves it to the caller to pass it. The kernel
// side gave it a number.
func (s *session) numbered(d stream.Direction, number uint8) *stream.Segment {
	s.now += 1000
	segment := &stream.Segment{
		Direction: d, Sequence: s.sent[d], Acknowledgment: s.sent[d.Reverse()], Data: bytes.Clone(s.sides[d].Bytes()),
		Time: s.now, Frames: true, Number: number, Retransmits: -1,
	}
	s.sides[d].Reset()
	s.sent[d] += uint32(len(segment.Data))
	s.numbers[d] = number
	return segment
}

// three are segments of one request each. The second one puts a value into the table of fields that the
// third one means by its index.
func three(s *session, numbers ...uint8) (segments [3]*stream.Segment) {
	s.follows = [2]bool{true, true}
	s.open()
	for i, value := range []string{"first", "second", "second"} {
		s.request(uint32(2*i+1), true, "x-value", value)
		segments[i] = s.numbered(toServer, s.numbers[toServer]+numbers[i])
	}
	return segments
}

// cut divides a segment.
func cut(s *stream.Segment, n int) (pieces []*stream.Segment) {
	size := (len(s.Data) + n - 1) / n
	for at := 0; at < len(s.Data); at += size {
		piece := *s
		piece.Sequence += uint32(at)
		piece.Data = s.Data[at:min(at+size, len(s.Data))]
		piece.More = at+size < len(s.Data)
		pieces = append(pieces, &piece)
	}
	return pieces
}

// fill takes all of the pool that is free, and returns what gives it back.
func (s *session) fill() func() {
	n := 4<<20 - s.pool.Lent()
	s.pool.Reserve(n)
	return func() { s.pool.Release(n) }
}

// requireOwnValues: each request has its own values, or none. Each is counted.
func requireOwnValues(t *testing.T, s *session, of ...any) {
	t.Helper()
	for id := uint32(1); id < 6; id += 2 {
		s.answer(id, true)
	}
	s.flush(toClient)
	s.end()
	require.Zero(t, s.pool.Lent())
	require.Equal(t, 3, len(s.got)+s.lost[stream.LossUnproven], "%v: %v", of, s.got)
	for i := range s.full {
		e := &s.full[i]
		check(t, e, 0)
		if want, has := map[string]string{"/1": "first", "/3": "second", "/5": "second"}[string(e.Target)], e.Request.Field("x-value"); has != nil {
			assert.Equal(t, want, string(has), "%v: %v", of, s.got)
		}
	}
}

// TestSegmentsWithoutRoom: one that comes too early and can't be kept is not taken for DATA.
func TestSegmentsWithoutRoom(t *testing.T) {
	s := newSession()
	segments := three(s, 1, 1, 1)
	release := s.fill()
	s.conn.Segment(&s.on, segments[1])
	release()
	s.conn.Segment(&s.on, segments[0])
	s.conn.Segment(&s.on, segments[2])
	requireOwnValues(t, s)
	assert.EqualValues(t, 1, s.fig.Gaps)
}

// TestOneNumberTwice: two processors gave it to two segments. Neither is taken for DATA because of the other.
func TestOneNumberTwice(t *testing.T) {
	for _, turns := range [][]int{{0, 1, 2}, {1, 0, 2}, {1, 2, 0}, {0, 2, 1}, {2, 1, 0}, {2, 0, 1}} {
		for _, numbers := range [][]uint8{{1, 0, 1}, {1, 1, 0}} {
			s := newSession()
			segments := three(s, numbers...)
			for _, i := range turns {
				s.conn.Segment(&s.on, segments[i])
			}
			requireOwnValues(t, s, turns)
		}
	}
}

// TestPiecesOfOneNumber: those of two segments come in turns.
func TestPiecesOfOneNumber(t *testing.T) {
	for _, turns := range [][]int{{0, 1, 0, 1, 2}, {1, 0, 1, 0, 2}, {0, 1, 1, 0, 2}, {1, 0, 0, 1, 2}, {2, 0, 1, 0, 1}, {2, 1, 0, 1, 0}} {
		s := newSession()
		segments := three(s, 1, 0, 1)
		pieces := [][]*stream.Segment{cut(segments[0], 2), cut(segments[1], 2), {segments[2]}}
		for _, i := range turns {
			s.conn.Segment(&s.on, pieces[i][0])
			pieces[i] = pieces[i][1:]
		}
		requireOwnValues(t, s, turns)
	}
}

// TestOneNumberInsideAFrame: the end of a frame that crosses is missing, and a request behind it. What is
// read before they come has no values that depend on them.
func TestOneNumberInsideAFrame(t *testing.T) {
	s := newSession()
	s.follows = [2]bool{true, true}
	s.open()
	s.request(1, false, "x-value", "first")
	_ = s.sides[0].WriteData(1, true, make([]byte, 100))
	s.request(3, true, "x-value", "second")
	number := s.numbers[toServer] + 1
	halves := cut(s.numbered(toServer, number), 2)
	halves[0].More, halves[1].Number = false, number+1
	s.request(5, true, "x-value", "second")
	last := s.numbered(toServer, number+1)
	s.conn.Segment(&s.on, halves[0])
	s.conn.Segment(&s.on, last)
	assert.EqualValues(t, 1, s.fig.Gaps, "a hole that is no DATA")
	s.conn.Segment(&s.on, halves[1])
	requireOwnValues(t, s)
}
