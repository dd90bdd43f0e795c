// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
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
	s.older()
	for i, value := range []string{"first", "second", "second"} {
		s.request(uint32(2*i+3), true, "x-value", value)
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

// requireOwnValues: each request has its own values, or none. Each is counted.
func requireOwnValues(t *testing.T, s *session, of ...any) {
	t.Helper()
	for id := uint32(3); id < 8; id += 2 {
		s.answer(id, true)
	}
	s.flush(toClient)
	s.end()
	require.Zero(t, s.pool.Lent())
	require.Equal(t, 3, len(s.got)+s.lost[stream.LossUnproven], "%v: %v", of, s.got)
	for i := range s.full {
		e := &s.full[i]
		requireOwn(t, e, 0)
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
	s.older()
	s.request(3, false, "x-value", "first")
	_ = s.sides[0].WriteData(3, true, make([]byte, 100))
	s.request(5, true, "x-value", "second")
	number := s.numbers[toServer] + 1
	halves := cut(s.numbered(toServer, number), 2)
	halves[0].More, halves[1].Number = false, number+1
	s.request(7, true, "x-value", "second")
	last := s.numbered(toServer, number+1)
	s.conn.Segment(&s.on, halves[0])
	s.conn.Segment(&s.on, last)
	assert.EqualValues(t, 1, s.fig.Gaps, "a hole that is no DATA")
	s.conn.Segment(&s.on, halves[1])
	requireOwnValues(t, s)
}

// TestHostileOrder: records in any order, without room, with one number twice, and with numbers that begin
// again. No request has the values of another one, and each is reported or counted.
func TestHostileOrder(t *testing.T) {
	own, missing := 0, 0
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 5))
		s := newSession()
		s.follows, s.cut = [2]bool{true, true}, []int{300, 1448, 3000}[random.IntN(3)]
		s.open()
		s.older()
		s.shuffle, s.twice, s.tight = random, []int{0, 2, 5}[random.IntN(3)], []int{0, 0, 1, 3}[random.IntN(4)]
		const number = 40
		answered := uint32(0)
		for i := range uint32(number) {
			s.requestAndData(3+2*i, random)
			what := random.IntN(24)
			if what == 0 {
				s.numbers[toServer] = 0 // what says so was lost
			}
			if what > 5 && i < number-1 {
				continue
			}
			s.flush(toServer)
			for ; answered <= i; answered++ {
				s.answer(3+2*answered, true)
			}
			s.flush(toClient)
			if what == 1 {
				s.followAnew()
			}
		}
		s.end()
		require.Zero(t, s.pool.Lent())
		counted := len(s.full)
		for _, n := range s.lost {
			counted += n
		}
		// Of several losses in a row the last counts, and an answer shows no request between two of them.
		missing += max(0, number-counted)
		require.True(t, counted >= number || s.fig.Gaps > 0, seed)
		for i := range s.full {
			own += requireOwn(t, &s.full[i], seed)
		}
	}
	assert.Greater(t, own, 2500, "of 16,000")
	assert.Less(t, missing, 100)
}

// requestAndData sends a request with a body. Some of its values repeat.
func (s *session) requestAndData(id uint32, random *rand.Rand) {
	s.request(id, false, "x-group", fmt.Sprint(id%5))
	for range random.IntN(4) {
		_ = s.sides[0].WriteData(id, false, make([]byte, random.IntN(3000)))
	}
	_ = s.sides[0].WriteData(id, true, nil)
}

// followAnew has the kernel side lose where frames begin, and learn it again if user space says it.
func (s *session) followAnew() {
	shuffle := s.shuffle
	s.shuffle, s.follows[toServer], s.begins = nil, false, [2]uint32{}
	_ = s.sides[0].WritePing(false, [8]byte{})
	s.flush(toServer)
	s.shuffle = shuffle
	s.follows[toServer], s.numbers[toServer] = s.begins[toServer] == s.sent[toServer], 0
}

// requireOwn: a request with a path has the values of the stream that has it, or none. It returns 1 for a
// pair.
func requireOwn(t *testing.T, e *request.Exchange, seed uint64) int {
	t.Helper()
	if len(e.Target) > 0 {
		id, err := strconv.Atoi(string(e.Target[1:]))
		require.NoError(t, err)
		values := map[string]string{"host": "example.org", "x-id": fmt.Sprint(id), "x-group": fmt.Sprint(id % 5)}
		values["x-value"] = map[string]string{"/3": "first", "/5": "second", "/7": "second"}[string(e.Target)]
		for _, f := range e.Request.Fields() {
			require.Equal(t, values[string(f.Name)], string(f.Value), "%d: %s of %s", seed, f.Name, e.Target)
		}
	}
	return check(t, e, seed)
}
