// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// TestFollowedFrames: with the frames followed, all that is not DATA crosses, and no answer
// lacks its end. After a loss, no value is another stream's.
func TestFollowedFrames(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 2))
		s := newSession()
		s.cut = []int{0, 7, 50, 500, 1448}[random.IntN(5)]
		s.follows = [2]bool{true, true}
		rate := []float64{0, 0, 0.01, 0.1}[random.IntN(4)]
		crossed, all := 0, 0
		s.lose = func(segment *stream.Segment) bool {
			crossed += len(segment.Data)
			return random.Float64() < rate
		}
		s.open()
		play(s, random)
		all = int(s.sent[0]-0xffffff00) + int(s.sent[1]-0x7fffff00)
		s.end()
		require.Zero(t, s.pool.Lent())
		pairs := 0
		for i := range s.full {
			e := &s.full[i]
			pairs += check(t, e, seed)
			if rate == 0 && e.Status != 0 { // the last ones may have no answer
				require.Equal(t, request.ProblemNone, e.Problem, seed)
				require.NotZero(t, e.Answer.Ended)
			}
		}
		if rate == 0 {
			require.GreaterOrEqual(t, pairs, 56, seed)
			require.Zero(t, s.fig.Gaps)
			require.LessOrEqual(t, crossed, all)
		}
	}
}

// TestFollowedOnTwoProcessors: records of segments that two processors copy at once come in any order,
// and their pieces between each other. Nothing is missing, though DATA between them does not cross.
func TestFollowedOnTwoProcessors(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 3))
		s := newSession()
		s.follows, s.cut = [2]bool{true, true}, 3000
		s.open()
		s.older()
		s.shuffle = random
		const number = 40
		for i := range uint32(number) {
			id := 3 + 2*i
			s.request(id, false, "x-group", fmt.Sprint(i%5))
			for range random.IntN(4) {
				_ = s.sides[0].WriteData(id, false, make([]byte, random.IntN(9000)))
			}
			_ = s.sides[0].WriteData(id, true, nil)
			if i%8 == 7 || i == number-1 {
				s.flush(toServer)
			}
		}
		for i := range uint32(number) {
			s.answer(3+2*i, true)
		}
		s.flush(toClient)
		s.end()
		require.Len(t, s.full, number, seed)
		for i := range s.full {
			require.Equal(t, 1, check(t, &s.full[i], seed))
			require.Equal(t, request.ProblemNone, s.full[i].Problem, seed)
		}
		require.Zero(t, s.fig.Gaps, seed)
		require.Zero(t, s.pool.Lent())
	}
}

// TestFollowedDownload: of a large answer its head crosses, and the frame that ends it.
func TestFollowedDownload(t *testing.T) {
	s := newSession()
	s.cut, s.follows = 1448, [2]bool{true, true}
	crossed := 0
	s.lose = func(segment *stream.Segment) bool {
		crossed += len(segment.Data)
		return false
	}
	s.open()
	s.request(1, true)
	s.flush(toServer)
	s.answer(1, false, "content-length", "1048576")
	for range 127 {
		_ = s.sides[1].WriteData(1, false, make([]byte, 8<<10))
	}
	_ = s.sides[1].WriteData(1, true, make([]byte, 8<<10))
	s.flush(toClient)
	assert.Equal(t, []string{"GET /1 200 0/1048576"}, s.got)
	assert.Equal(t, s.now, s.full[0].Answer.Ended)
	assert.Less(t, crossed, 16<<10)
	s.end()
	assert.Zero(t, s.pool.Lent())
}

// TestFirstMessage: a streaming answer says when its content began, however little of it crosses.
func TestFirstMessage(t *testing.T) {
	for _, follows := range []bool{false, true} {
		s := newSession()
		s.follows = [2]bool{follows, follows}
		s.open()
		s.request(1, true)
		s.request(3, true)
		s.flush(toServer)
		s.answer(1, false)
		s.answer(3, false)
		s.flush(toClient)
		if !follows { // what does not cross may be a message
			_ = s.sides[1].WriteData(1, false, nil)
			s.flush(toClient)
		}
		first := [2]int64{}
		for i, id := range []uint32{1, 3} {
			_ = s.sides[1].WriteData(id, false, []byte("first"))
			s.flush(toClient)
			first[i] = s.now
		}
		_ = s.sides[1].WriteData(1, false, []byte("second"))
		s.flush(toClient)
		for _, id := range []uint32{1, 3} {
			s.sides[1].headers(id, true, "grpc-status", "0")
			s.flush(toClient)
		}
		require.Len(t, s.full, 2)
		for i := range s.full {
			assert.Equal(t, first[i], s.full[i].Answer.BodyBegan, "%v %d", follows, i)
			assert.Greater(t, s.full[i].Answer.Ended, first[i])
		}
		s.end()
	}
}

// TestServerSpeaksFirst: nothing of either direction is missing.
func TestServerSpeaksFirst(t *testing.T) {
	s := newSession()
	s.wanted = s.sent
	_ = s.sides[1].WriteSettings()
	settings := bytes.Clone(s.sides[1].Bytes())
	s.sides[1].Reset()
	segment := stream.Segment{
		Direction: toClient, Sequence: s.sent[1], Acknowledgment: s.sent[0], First: s.sent[0], Data: settings,
		Begins: true, Frames: true, Number: 1, Retransmits: -1,
	}
	s.conn = s.engine.Begin(&s.on, &segment)
	require.False(t, s.conn.Segment(&s.on, &segment))
	s.sent[1] += uint32(len(settings))
	s.open()
	for id := uint32(1); id < 9; id += 2 {
		s.request(id, true)
		s.flush(toServer)
		s.answer(id, true)
		s.flush(toClient)
	}
	s.end()
	assert.Equal(t, []string{"GET /1 200", "GET /3 200", "GET /5 200", "GET /7 200"}, s.got)
	assert.Zero(t, s.fig.Gaps)
	assert.Empty(t, s.lost)
}

// TestFollowAgain: the kernel side learns where frames begin, once that is known and proven.
func TestFollowAgain(t *testing.T) {
	s := newSession()
	s.open()
	s.late = true
	s.request(1, true)
	s.flush(toServer)
	s.join(toServer)
	s.begins = [2]uint32{}
	s.request(3, true)
	s.flush(toServer)
	assert.Zero(t, s.begins[toServer], "it may be a body")
	s.answer(3, true)
	s.flush(toClient)
	assert.Zero(t, s.begins[toServer], "nothing came since it is proven")
	s.request(5, true)
	s.flush(toServer)
	assert.Equal(t, s.sent[toServer], s.begins[toServer])
	s.answer(5, false)
	s.flush(toClient)
	assert.Equal(t, s.sent[toClient], s.begins[toClient])
	s.begins = [2]uint32{}
	_ = s.sides[1].WriteData(5, true, make([]byte, 100))
	s.cut = 50
	s.flush(toClient)
	assert.Equal(t, s.sent[toClient], s.begins[toClient])
	s.end()
}
