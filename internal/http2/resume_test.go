// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// inner are whole frames of another connection of HTTP/2, as the body of a tunnel has them.
func inner(from, to uint32) []byte {
	s := newSide()
	for id := from; id <= to; id += 2 {
		s.headers(id, true, ":method", "GET", ":scheme", "http", ":path", fmt.Sprint("/inner/", id), "x-id", "inner", "x-inner", fmt.Sprint(id))
	}
	return s.Bytes()
}

// loseNext loses the next segment.
func (s *session) loseNext() {
	s.lose = func(*stream.Segment) bool {
		s.lose = nil
		return true
	}
}

// TestBodiesThatLookLikeRequests: after a loss, a body of whole frames makes no request.
func TestBodiesThatLookLikeRequests(t *testing.T) {
	s := newSession()
	s.open()
	s.request(1, false)
	s.flush(toServer)
	s.loseNext()
	_ = s.sides[0].WriteData(1, false, append([]byte("begin"), inner(101, 121)...))
	data := s.sides[0].Bytes()
	cut := frame.HeadBytes + len("begin")
	s.send(toServer, data[:cut], false, false)
	rest := append([]byte(nil), data[cut:]...)
	s.sides[0].Reset()
	s.send(toServer, rest, false, false) // begins with a frame of the tunnel
	s.sides[1].WriteWindowUpdate(0, 1000)
	s.flush(toClient)
	// The real connection goes on, in the middle of the attempt.
	for id := uint32(3); id < 9; id += 2 {
		s.request(id, true, "x-new", fmt.Sprint(id))
		s.flush(toServer)
		s.answer(id, true)
		s.flush(toClient)
	}
	s.answer(1, true)
	s.flush(toClient)
	s.end()
	for i := range s.full {
		check(t, &s.full[i], 0)
		assert.NotContains(t, string(s.full[i].Target), "inner")
		assert.Nil(t, s.full[i].Request.Field("x-inner"))
	}
	assert.Len(t, s.got, 4, s.got)
	assert.EqualValues(t, 11, s.lost[stream.LossUnproven], "what was not reported is counted")
	assert.Zero(t, s.pool.Lent())
}

// TestNeverAnInnerStreamsValues: bodies of whole frames everywhere, and losses anywhere.
func TestNeverAnInnerStreamsValues(t *testing.T) {
	pairs := 0
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 3))
		s := newSession()
		s.cut = []int{0, 0, 100, 700}[random.IntN(4)]
		s.late = random.IntN(3) == 0
		rate := []float64{0, 0.02, 0.1, 0.3}[random.IntN(4)]
		s.lose = func(*stream.Segment) bool { return random.Float64() < rate }
		s.open()
		s.older()
		for id := uint32(3); id < 100; id += 2 {
			if id == 31 && s.late {
				s.join(toServer)
			}
			s.request(id, false, "x-group", fmt.Sprint(random.IntN(5)))
			// The numbers of the inner connection are far from those that come.
			_ = s.sides[0].WriteData(id, true, inner(1001, 1001+2*uint32(random.IntN(5))))
			s.flush(toServer)
			s.answer(id, true)
			s.flush(toClient)
		}
		s.end()
		require.Zero(t, s.pool.Lent())
		for i := range s.full {
			e := &s.full[i]
			pairs += check(t, e, seed)
			require.NotContains(t, string(e.Target), "inner", seed)
			require.Nil(t, e.Request.Field("x-inner"), seed)
			require.NotEqual(t, "inner", string(e.Request.Field("x-id")), seed)
		}
	}
	assert.Greater(t, pairs, 3000)
}

// TestRequestsAfterALossWaitForTheirAnswers, and lose nothing by it.
func TestRequestsAfterALossWaitForTheirAnswers(t *testing.T) {
	s := newSession()
	s.open()
	s.request(1, true)
	s.loseNext()
	s.flush(toServer)
	s.request(3, true, "x-new", "3")
	s.request(5, true, "x-new", "5")
	s.flush(toServer)
	underWay := 0
	s.conn.UnderWay(func(*request.Exchange) { underWay++ })
	assert.Zero(t, underWay)
	s.answer(3, true)
	s.flush(toClient)
	s.conn.UnderWay(func(*request.Exchange) { underWay++ })
	assert.Equal(t, 1, underWay, "the frames behind are proven, too")
	s.answer(5, true)
	s.answer(1, true) // its request was lost
	s.flush(toClient)
	assert.Equal(t, []string{"GET /3 200 cut", "GET /5 200 cut", "  200 packets_missed"}, s.got)
	assert.Equal(t, "5", string(s.full[1].Request.Field("x-new")))
	s.end()
	assert.Empty(t, s.lost)
	assert.Zero(t, s.pool.Lent())
}

// TestAnswersOutOfOrderAfterALoss: a request whose fields may depend on one that is not proven
// has none.
func TestAnswersOutOfOrderAfterALoss(t *testing.T) {
	s := newSession()
	s.open()
	s.request(1, true)
	s.loseNext()
	s.flush(toServer)
	s.request(3, true)
	s.request(5, true)
	s.flush(toServer)
	s.answer(5, true)
	s.answer(3, true)
	s.flush(toClient)
	assert.Equal(t, []string{"  200 packets_missed", "GET /3 200 cut"}, s.got)
	s.end()
	assert.Zero(t, s.pool.Lent())
}

// TestTheLastRecordIsLost: without a later segment, nobody says that an answer is missing. It is
// not taken for a request that nobody answered.
func TestTheLastRecordIsLost(t *testing.T) {
	for want, begun := range map[string]bool{"GET /1 200 0/-1 packets_missed": true, "GET /1 0 packets_missed": false} {
		s := newSession()
		s.follows = [2]bool{true, true}
		s.open()
		s.request(1, true)
		s.flush(toServer)
		if begun {
			s.answer(1, false)
			s.flush(toClient)
		}
		s.loseNext()
		if !begun {
			s.answer(1, false)
		}
		_ = s.sides[1].WriteData(1, true, []byte("hello"))
		s.flush(toClient)
		require.False(t, s.conn.Sweep(s.now+1, s.now+1))
		assert.Equal(t, []string{want}, s.got)
		assert.EqualValues(t, 1, s.fig.Gaps)
		s.end()
		assert.Len(t, s.got, 1)
		assert.Zero(t, s.pool.Lent())
	}
}

// TestAnswersWhoseRequestsWereLost: the loss shows in no other segment.
func TestAnswersWhoseRequestsWereLost(t *testing.T) {
	s := newSession()
	s.follows = [2]bool{true, true}
	s.open()
	s.loseNext()
	s.request(1, true)
	s.flush(toServer)
	s.answer(1, true)
	s.flush(toClient)
	assert.Equal(t, []string{"  200 packets_missed"}, s.got)
	s.end()
	assert.Zero(t, s.pool.Lent())
}
