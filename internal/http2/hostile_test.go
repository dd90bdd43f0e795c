// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// TestHPACKBombs: a block of references to one large entry means much more than it has bytes. It
// costs no more than a head may.
func TestHPACKBombs(t *testing.T) {
	s := newSession()
	s.open()
	s.sides[0].headers(1, true, ":method", "GET", ":path", "/1", "x-bomb", strings.Repeat("b", 3900))
	s.flush(toServer)
	base := s.pool.Lent()
	for id := uint32(3); id < 43; id += 2 {
		block := append(s.sides[0].block(":method", "GET", ":path", fmt.Sprint("/", id)), bytes.Repeat([]byte{0x80 | 63}, 60_000)...)
		for first := true; len(block) > 0; first = false {
			n := min(len(block), 16<<10)
			if first {
				_ = s.sides[0].WriteHeaders(h2.HeadersFrameParam{StreamID: id, BlockFragment: block[:n], EndStream: true, EndHeaders: n == len(block)})
			} else {
				_ = s.sides[0].WriteContinuation(id, n == len(block), block[:n])
			}
			block = block[n:]
		}
		s.flush(toServer)
		require.LessOrEqual(t, s.pool.Lent()-base, int(id/2)*(2*s.engine.options.HeadBytes+2*callSize+4096), id)
		s.answer(id, true)
		s.flush(toClient)
	}
	require.Len(t, s.full, 20)
	for i := range s.full {
		size := 0
		for _, f := range s.full[i].Request.Fields() {
			size += len(f.Name) + len(f.Value)
		}
		assert.LessOrEqual(t, size, s.engine.options.HeadBytes)
		assert.True(t, s.full[i].Request.HeadCut)
	}
	s.end()
	assert.Zero(t, s.pool.Lent())
}

// TestFloodsOfContinuations: a block that never ends takes a bounded buffer, and its stream is
// reported once.
func TestFloodsOfContinuations(t *testing.T) {
	s := newSession()
	s.open()
	base := s.pool.Lent()
	block := s.sides[0].block(":method", "GET", ":path", "/1")
	_ = s.sides[0].WriteHeaders(h2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true})
	for range 20_000 {
		_ = s.sides[0].WriteContinuation(1, false, s.sides[0].block("x-more", strings.Repeat("v", 90)))
		s.flush(toServer)
		require.LessOrEqual(t, s.pool.Lent()-base, 2*maxBlockBytes)
	}
	for range 20_000 { // empty ones
		_ = s.sides[0].WriteContinuation(1, false, nil)
	}
	s.flush(toServer)
	require.LessOrEqual(t, s.pool.Lent()-base, 2*maxBlockBytes)
	s.send(toServer, nil, false, true)
	assert.Len(t, s.got, 1)
	assert.Zero(t, s.pool.Lent())
}

// TestTheHighestStreams: numbers up to 2³¹-1. Beyond, a client needs another connection.
func TestTheHighestStreams(t *testing.T) {
	s := newSession()
	s.open()
	ids := []uint32{1, 1<<31 - 5, 1<<31 - 3, 1<<31 - 1}
	for _, id := range ids {
		s.request(id, true)
		s.flush(toServer)
		s.answer(id, true)
		s.flush(toClient)
	}
	s.request(5, true) // lower than those before: no client may
	s.flush(toServer)
	require.Len(t, s.got, len(ids))
	for i, id := range ids {
		assert.Equal(t, fmt.Sprintf("GET /%d 200", id), s.got[i])
	}
	s.end()
	assert.Len(t, s.got, len(ids))
	assert.Zero(t, s.pool.Lent())
}

// TestMoreStreamsThanBounds: those beyond what a connection may have under way are counted, and
// memory stays within the pool.
func TestMoreStreamsThanBounds(t *testing.T) {
	s := newSession()
	s.open()
	const streams = 100_000
	for i := range uint32(streams) {
		s.request(2*i+1, true)
		if i%100 == 0 {
			s.flush(toServer)
		}
	}
	s.flush(toServer)
	assert.Len(t, s.conn.calls, maxCalls)
	assert.Equal(t, map[stream.Loss]int{stream.LossDepth: streams - maxCalls}, s.lost)
	s.end()
	assert.Len(t, s.got, maxCalls)
	assert.Zero(t, s.pool.Lent())
}

// TestFramesThatAreAnnounced: if they are never sent, they take no memory, whatever their type.
func TestFramesThatAreAnnounced(t *testing.T) {
	for _, kind := range []byte{0, 1, 3, 4, 5, 9, 0x42} {
		s := newSession()
		s.open()
		s.request(1, false)
		s.flush(toServer)
		base := s.pool.Lent()
		s.sides[0].Write([]byte{0xff, 0xff, 0xff, kind, 0, 0, 0, 0, 1})
		s.flushRaw(toServer)
		for range 100 {
			s.sides[0].Write(make([]byte, 1000))
			s.flushRaw(toServer)
			require.LessOrEqual(t, s.pool.Lent()-base, 2*maxBlockBytes, kind)
		}
		assert.Empty(t, s.got, kind)
		assert.False(t, s.conn.Sweep(s.now+1, s.now+1))
		s.end()
		assert.Len(t, s.got, 1, kind)
		assert.Zero(t, s.pool.Lent(), kind)
	}
}

// TestRapidResetsAfterALoss: requests that wait for a proof and are reset are counted, too.
func TestRapidResetsAfterALoss(t *testing.T) {
	s := newSession()
	s.open()
	s.request(1, true)
	s.loseNext()
	s.flush(toServer)
	_ = s.sides[1].WritePing(false, [8]byte{})
	s.flush(toClient) // says that all was received
	base := 0
	for id := uint32(3); id < 20_000; id += 2 {
		s.request(id, true)
		s.flush(toServer)
		_ = s.sides[0].WriteRSTStream(id, h2.ErrCodeCancel)
		s.flush(toServer)
		if base == 0 {
			base = s.pool.Lent()
		}
		require.LessOrEqual(t, s.pool.Lent(), base)
	}
	s.end()
	assert.Equal(t, 9_999, len(s.got)+s.lost[stream.LossUnproven], "each is counted")
	assert.Zero(t, s.pool.Lent())
}

// TestAnswersThatNobodyAskedFor take no memory for long.
func TestAnswersThatNobodyAskedFor(t *testing.T) {
	s := newSession()
	s.open()
	for id := uint32(1); id < 20_000; id += 2 {
		s.answer(id, true)
		s.flush(toClient)
	}
	assert.Len(t, s.got, 10_000)
	assert.Equal(t, request.ProblemMissed, s.full[0].Problem)
	s.end()
	assert.Zero(t, s.pool.Lent())
}

// flushRaw sends bytes that are no frames.
func (s *session) flushRaw(d stream.Direction) {
	data := bytes.Clone(s.sides[d].Bytes())
	s.sides[d].Reset()
	s.send(d, data, false, false)
}
