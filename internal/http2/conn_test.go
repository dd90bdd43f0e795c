// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/fields"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

const (
	toServer = stream.ToServer
	toClient = stream.ToClient
)

func TestRequestAndAnswer(t *testing.T) {
	everyCut(t, func(s *session) {
		for id := uint32(1); id < 7; id += 2 {
			s.request(id, true)
			s.flush(toServer)
			s.answer(id, false)
			_ = s.sides[1].WriteData(id, true, []byte("hello"))
			s.flush(toClient)
		}
	}, "GET /1 200 0/5", "GET /3 200 0/5", "GET /5 200 0/5")
}

func TestWhatARequestSays(t *testing.T) {
	s := newSession()
	s.open()
	s.request(1, false, "content-type", "text/plain")
	s.flush(toServer)
	_ = s.sides[0].WriteData(1, true, []byte("12345678"))
	s.flush(toServer)
	s.answer(1, true, "content-type", "text/html")
	s.flush(toClient)
	require.Len(t, s.full, 1)
	e := &s.full[0]
	assert.Equal(t, request.Version2, e.Version)
	assert.Equal(t, "example.org", string(e.Request.Field("host")))
	assert.Equal(t, "text/plain", string(e.Request.Field("content-type")))
	assert.Equal(t, "text/html", string(e.Answer.Field("content-type")))
	assert.Nil(t, e.Request.Field(":scheme"))
	// Each segment takes a microsecond: headers, data, answer.
	assert.EqualValues(t, 1000, e.Request.Ended-e.Request.Began)
	duration, known := e.Duration()
	assert.True(t, known)
	assert.EqualValues(t, 2000, duration)
	s.end()
}

func TestCallsOfGRPC(t *testing.T) {
	everyCut(t, func(s *session) {
		s.request(1, false)
		_ = s.sides[0].WriteData(1, true, []byte("\x00\x00\x00\x00\x03abc"))
		s.flush(toServer)
		s.answer(1, false)
		_ = s.sides[1].WriteData(1, false, []byte("\x00\x00\x00\x00\x01x"))
		s.sides[1].headers(1, true, "grpc-status", "0", "grpc-message", "fine")
		s.flush(toClient)
		s.request(3, true)
		s.flush(toServer)
		s.answer(3, true, "grpc-status", "12") // only trailers
		s.flush(toClient)
	}, "GET /1 200 8/6 grpc-status=0 grpc-message=fine", "GET /3 200")
}

// TestTrailersOfABareAnswer: they are no fields of a head that has none.
func TestTrailersOfABareAnswer(t *testing.T) {
	everyCut(t, func(s *session) {
		s.request(1, true)
		s.flush(toServer)
		s.sides[1].headers(1, false, ":status", "200")
		s.sides[1].headers(1, true, "grpc-status", "0")
		s.flush(toClient)
	}, "GET /1 200 grpc-status=0")
}

func TestManyStreamsAtOnce(t *testing.T) {
	var want []string
	everyCutWant := func(s *session) {
		for id := uint32(1); id < 33; id += 2 {
			s.request(id, true)
		}
		s.flush(toServer)
		for id := uint32(31); id < 33; id -= 2 { // the last one first
			s.answer(id, false)
		}
		for id := uint32(31); id < 33; id -= 2 {
			_ = s.sides[1].WriteData(id, true, bytes.Repeat([]byte("x"), int(id)))
		}
		s.flush(toClient)
	}
	for id := 31; id > 0; id -= 2 {
		want = append(want, fmt.Sprintf("GET /%d 200 0/%[1]d", id))
	}
	everyCut(t, everyCutWant, want...)
}

func TestContinuationsPaddingAndPriority(t *testing.T) {
	everyCut(t, func(s *session) {
		block := s.sides[0].block(":method", "POST", ":path", "/long", "x-long", strings.Repeat("v", 300))
		_ = s.sides[0].WriteHeaders(h2.HeadersFrameParam{
			StreamID: 1, BlockFragment: block[:10], PadLength: 7, Priority: h2.PriorityParam{StreamDep: 3, Weight: 9},
		})
		_ = s.sides[0].WriteContinuation(1, false, block[10:20])
		_ = s.sides[0].WriteContinuation(1, false, nil)
		_ = s.sides[0].WriteContinuation(1, true, block[20:])
		_ = s.sides[0].WriteDataPadded(1, false, []byte("abc"), make([]byte, 200))
		_ = s.sides[0].WriteData(1, true, nil)
		s.flush(toServer)
		s.answer(1, true)
		_ = s.sides[1].WriteWindowUpdate(0, 100)
		_ = s.sides[1].WritePing(false, [8]byte{})
		_ = s.sides[1].WriteRawFrame(0x42, 0xff, 5, []byte("an extension"))
		s.flush(toClient)
	}, "POST /long 200 3/0")
}

func TestInterimAnswersAndPushes(t *testing.T) {
	everyCut(t, func(s *session) {
		s.request(1, true)
		s.flush(toServer)
		s.sides[1].headers(1, false, ":status", "103", "link", "</style.css>")
		_ = s.sides[1].WritePushPromise(h2.PushPromiseParam{
			StreamID: 1, PromiseID: 2, EndHeaders: true, BlockFragment: s.sides[1].block(":method", "GET", ":path", "/pushed"),
		})
		s.answer(1, true)
		s.sides[1].headers(2, true, ":status", "200")
		s.flush(toClient)
	}, "GET /1 200")
}

func TestResets(t *testing.T) {
	everyCut(t, func(s *session) {
		s.request(1, true)
		s.request(3, true)
		s.request(5, true)
		s.flush(toServer)
		_ = s.sides[0].WriteRSTStream(1, h2.ErrCodeCancel)
		s.flush(toServer)
		_ = s.sides[1].WriteRSTStream(3, h2.ErrCodeRefusedStream)
		s.answer(5, false)
		_ = s.sides[1].WriteData(5, false, []byte("half"))
		_ = s.sides[1].WriteRSTStream(5, h2.ErrCodeInternal)
		s.flush(toClient)
	}, "GET /1 0 client_reset", "GET /3 0 server_reset", "GET /5 200 0/-1 answer_cut")
}

// TestRapidResets: each stream is reported, and memory stays flat.
func TestRapidResets(t *testing.T) {
	s := newSession()
	s.open()
	base := s.pool.Lent()
	for id := uint32(1); id < 20000; id += 2 {
		s.request(id, true)
		_ = s.sides[0].WriteRSTStream(id, h2.ErrCodeCancel)
		s.flush(toServer)
		require.Equal(t, base, s.pool.Lent())
	}
	assert.Len(t, s.got, 10000)
	assert.Empty(t, s.lost)
	s.end()
}

func TestConnectionsThatEnd(t *testing.T) {
	for want, end := range map[string]func(*session){
		"client_closed": func(s *session) { s.send(toServer, nil, true, false); s.send(toClient, nil, true, false) },
		"server_closed": func(s *session) { s.send(toClient, nil, true, false); s.send(toServer, nil, true, false) },
		"client_reset":  func(s *session) { s.send(toServer, nil, false, true) },
		"server_reset":  func(s *session) { s.send(toClient, nil, false, true) },
	} {
		s := newSession()
		s.open()
		s.request(1, true)
		s.request(3, true)
		s.flush(toServer)
		s.answer(3, false)
		s.flush(toClient)
		end(s)
		assert.Equal(t, []string{"GET /1 0 " + want, "GET /3 200 0/-1 answer_cut"}, s.got, want)
		assert.Nil(t, s.conn, "over")
		assert.Zero(t, s.pool.Lent())
	}
}

func TestIdleRequestsAreReportedOnce(t *testing.T) {
	s := newSession()
	s.open()
	s.request(1, true)
	s.flush(toServer)
	assert.False(t, s.conn.Sweep(s.now+1, s.now+1))
	assert.False(t, s.conn.Sweep(s.now+2, s.now+2))
	assert.Equal(t, []string{"GET /1 0 idle"}, s.got)
	assert.Zero(t, s.engine.port(80).active)
	s.answer(1, true)
	s.flush(toClient)
	assert.Len(t, s.got, 1)
	assert.EqualValues(t, 1, s.fig.Late)
	s.end()
	assert.Zero(t, s.pool.Lent())
}

// TestDataIsPassedOver: of a long body, the kernel side learns what is not wanted.
func TestDataIsPassedOver(t *testing.T) {
	s := newSession()
	s.open()
	s.request(1, true)
	s.flush(toServer)
	s.answer(1, false)
	s.flush(toClient)
	crossed := 0
	s.lose = func(segment *stream.Segment) bool {
		if !stream.Before(segment.Sequence+uint32(len(segment.Data))-1, s.wanted[toClient]) {
			crossed += len(segment.Data)
		}
		return false
	}
	s.cut = 1000
	for range 63 {
		_ = s.sides[1].WriteData(1, false, make([]byte, 16<<10))
	}
	_ = s.sides[1].WriteData(1, true, make([]byte, 16<<10))
	s.flush(toClient)
	assert.Equal(t, []string{"GET /1 200 0/1048576"}, s.got)
	assert.Less(t, crossed, 64*2*1000+1000)
	assert.Equal(t, s.now, s.full[0].Answer.Ended)
	s.end()
}

// TestBlocksThatCannotBeDecoded: a connection of garbage costs a bounded number of tables.
func TestBlocksThatCannotBeDecoded(t *testing.T) {
	s := newSession()
	s.open()
	size := []byte{0x3f, 0xe1, 0xff, 0x03} // a table of 64 KiB
	for id := uint32(1); id < 2000; id += 2 {
		_ = s.sides[0].WriteHeaders(h2.HeadersFrameParam{StreamID: id, BlockFragment: append(size, 0xff, 0xff), EndHeaders: true})
		s.flush(toServer)
	}
	h := &s.conn.halves[toServer]
	assert.Equal(t, stateBroken, h.state)
	assert.Equal(t, stateBroken, s.conn.halves[toClient].state)
	assert.Empty(t, s.conn.calls, "no request waits for an answer that nobody reads")
	assert.LessOrEqual(t, len(s.got)+len(s.conn.calls), fields.MaxForgotten+1)
	s.end()
	assert.Zero(t, s.pool.Lent())
}

// TestAuthorityNamesTheHost: servers use it, whatever the host field says.
func TestAuthorityNamesTheHost(t *testing.T) {
	s := newSession()
	s.open()
	s.request(1, true, "host", "other.example")
	s.flush(toServer)
	s.answer(1, true)
	s.flush(toClient)
	require.Len(t, s.full, 1)
	assert.Equal(t, "example.org", string(s.full[0].Request.Field("host")))
	s.end()
}

// joinedAt is a connection that is inspected from its n-th request on.
func joinedAt(n int) *session {
	s := newSession()
	s.late = true
	s.open()
	for i := range n {
		id := uint32(1 + 2*i)
		s.request(id, true)
		s.flush(toServer)
		s.answer(id, true)
		s.flush(toClient)
	}
	s.join(toServer)
	return s
}

func TestJoinedConnections(t *testing.T) {
	s := joinedAt(3)
	// What the tables had is unknown: the authority, the server. New values are known.
	s.request(7, true, "x-new", "value")
	s.flush(toServer)
	s.answer(7, true)
	s.flush(toClient)
	s.request(9, true, "x-new", "value")
	s.flush(toServer)
	s.answer(9, true, "x-fresh", "9")
	s.flush(toClient)
	require.Len(t, s.got, 2)
	assert.Equal(t, "GET /7 200 cut", s.got[0])
	assert.Equal(t, "value", string(s.full[1].Request.Field("x-new")))
	assert.Nil(t, s.full[1].Request.Field("host"))
	assert.Equal(t, "9", string(s.full[1].Answer.Field("x-fresh")))
	assert.Nil(t, s.full[1].Answer.Field("x-id"), "the name is in what was not seen")
	s.end()
	assert.Zero(t, s.pool.Lent())
}

func TestAnswersWhoseRequestsCameBefore(t *testing.T) {
	s := newSession()
	s.late = true
	s.open()
	s.request(1, true)
	s.flush(toServer)
	s.join(toClient)
	s.answer(1, true)
	s.flush(toClient)
	assert.Equal(t, []string{"  200 request_not_seen"}, s.got)
	s.end()
}

// TestNeverAnotherStreamsValues: whatever is lost and wherever inspection begins, a value is
// that of its own stream, or absent.
func TestNeverAnotherStreamsValues(t *testing.T) {
	rounds := uint64(400)
	if testing.Short() {
		rounds = 50
	}
	pairs := 0
	for seed := range rounds {
		random := rand.New(rand.NewPCG(seed, 1))
		s := newSession()
		s.cut = []int{0, 0, 50, 500, 1448}[random.IntN(5)]
		s.late = random.IntN(2) == 0
		rate := []float64{0, 0.01, 0.1, 0.3}[random.IntN(4)]
		s.lose = func(*stream.Segment) bool { return random.Float64() < rate }
		s.open()
		play(s, random)
		s.end()
		require.Zero(t, s.pool.Lent())
		for i := range s.full {
			pairs += check(t, &s.full[i], seed)
		}
	}
	assert.Greater(t, pairs, 1000)
}

// play has streams that overlap, with values that repeat and values that don't.
func play(s *session, random *rand.Rand) {
	open := []uint32{}
	s.older()
	for id := uint32(3); id < 120; {
		if id == 41 && s.late {
			s.join(toServer)
		}
		for range 1 + random.IntN(4) {
			s.request(id, random.IntN(2) == 0, "x-group", fmt.Sprint(random.IntN(5)))
			open = append(open, id)
			id += 2
		}
		s.flush(toServer)
		random.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
		for len(open) > random.IntN(3) {
			last := open[len(open)-1]
			open = open[:len(open)-1]
			s.answer(last, false, "x-group", fmt.Sprint(random.IntN(5)))
			_ = s.sides[1].WriteData(last, true, make([]byte, random.IntN(20000)))
			if random.IntN(2) == 0 {
				s.flush(toClient)
			}
		}
		s.flush(toClient)
	}
}

// check holds a request's id to its path and its answer's. It returns 1 for a pair.
func check(t *testing.T, e *request.Exchange, seed uint64) int {
	t.Helper()
	asked, answered := string(e.Request.Field("x-id")), string(e.Answer.Field("x-id"))
	if asked != "" && len(e.Target) > 0 {
		require.Equal(t, "/"+asked, string(e.Target), seed)
	}
	if asked == "" || answered == "" {
		return 0
	}
	require.Equal(t, asked, answered, seed)
	return 1
}
