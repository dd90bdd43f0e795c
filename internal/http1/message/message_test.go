// SPDX-License-Identifier: Apache-2.0

package message

import (
	"strings"
	"testing"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http1/syntax"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const bound = 64

// kept returns a message that got a head in pieces.
func kept(t *testing.T, pool *stream.Pool, head string, piece int) *Message {
	t.Helper()
	m := &Message{}
	for at := 0; at < len(head); at += piece {
		m.Keep(pool, []byte(head[at:min(at+piece, len(head))]), bound)
	}
	require.Equal(t, len(head), m.Size)
	return m
}

func TestHeadWithinItsBound(t *testing.T) {
	pool := stream.NewPool(1 << 20)
	const head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for piece := 1; piece <= len(head); piece++ {
		m := kept(t, pool, head, piece)
		assert.Equal(t, head, string(m.Head))
		assert.False(t, m.Cut)
		m.Empty(pool)
	}
	assert.Zero(t, pool.Lent())
}

func TestHeadBeyondItsBound(t *testing.T) {
	pool := stream.NewPool(1 << 20)
	head := "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 100) + "\r\n\r\n"
	for piece := 1; piece <= len(head); piece++ {
		m := kept(t, pool, head, piece)
		require.True(t, m.Cut)
		assert.Equal(t, "GET / HTTP/1.1\r\nHost: a\r\n", string(m.Head), "whole lines only")
		m.Empty(pool)
	}
	assert.Zero(t, pool.Lent())
}

func TestBodyOfSomeBytes(t *testing.T) {
	pool := stream.NewPool(1 << 20)
	m := Message{}
	const body = "0123456789abcdefghijklmnopqrstuvwxyz"
	for at := range len(body) {
		assert.Equal(t, at < 10, m.Wants(10))
		m.Content(pool, []byte(body[at:at+1]), int64(at+1), 10, 5)
	}
	m.Done = true
	var got request.Message
	m.Fill(&got, 5)
	assert.Equal(t, "0123456789", string(got.Body))
	assert.Equal(t, "vwxyz", string(got.Tail))
	assert.True(t, got.BodyCut)
	assert.EqualValues(t, len(body), got.BodyBytes)
	assert.EqualValues(t, len(body), got.Ended)
	m.PassOver(100, 10)
	m.Done = false
	m.Fill(&got, 5)
	assert.EqualValues(t, len(body)+100, got.BodyBytes)
	assert.Empty(t, got.Tail, "the end is not seen any more")
	assert.Zero(t, got.Ended)
	m.Empty(pool)
	assert.Zero(t, pool.Lent())
}

func TestTrailersBeyondTheirBound(t *testing.T) {
	pool := stream.NewPool(1 << 20)
	m := Message{}
	m.Trailer(pool, []byte("A: b\r\n"), 10)
	m.Trailer(pool, []byte("C: d\r\n"), 10)
	var got request.Message
	m.Fill(&got, 0)
	require.Len(t, got.Trailers, 1)
	assert.Equal(t, "A", string(got.Trailers[0].Name))
}

func TestDifferences(t *testing.T) {
	pool := stream.NewPool(1 << 20)
	m := Message{}
	m.Begin(&stream.Chunk{Sequence: 0xfffffffe, Acknowledgment: 7, Time: 3})
	assert.Zero(t, m.Differences(0xfffffffe, []byte("abc")), "nothing is kept")
	m.Keep(pool, []byte("abcdef"), bound)
	assert.Zero(t, m.Differences(0xfffffffe, []byte("abcdef")))
	assert.Equal(t, 2, m.Differences(0, []byte("cXXf")))
	assert.Zero(t, m.Differences(100, []byte("x")))
}

// TestBytesThatMayNotBelongToTheHead: the beginning of a PROXY header can be one of a head.
func TestBytesThatMayNotBelongToTheHead(t *testing.T) {
	pool := stream.NewPool(1 << 20)
	m := Message{}
	require.True(t, m.Probe(pool, []byte("\r\nGE")))
	require.True(t, m.Probe(pool, []byte("T / HTTP/1.1")))
	m.Unprobe(4, 2)
	m.Keep(pool, []byte("T"), bound)
	assert.Equal(t, "GET", string(m.Head))
	assert.Equal(t, 3, m.Size)
	assert.Equal(t, "GET", string(m.Take()))
	assert.Zero(t, m.Size)
	assert.False(t, (&Message{}).Probe(stream.NewPool(0), []byte("x")))
}

// TestHeadThatIsNotStored: what says where the body ends is read all the same.
func TestHeadThatIsNotStored(t *testing.T) {
	const head = "POST /path HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
	for piece := 1; piece <= len(head); piece++ {
		m := kept(t, stream.NewPool(0), head, piece)
		require.True(t, m.Cut)
		var read syntax.Head
		require.True(t, m.ReadRequest(&read))
		assert.True(t, m.HasVersion())
		assert.Equal(t, "POST", string(read.Method))
		assert.Empty(t, read.Target)
		assert.Equal(t, syntax.Length, read.Framing)
		assert.EqualValues(t, 5, read.Size)
	}
}

// TestStartLineBeyondTheBound: what of the target is kept counts.
func TestStartLineBeyondTheBound(t *testing.T) {
	pool := stream.NewPool(1 << 20)
	m := kept(t, pool, "GET /"+strings.Repeat("p", 2*bound)+" HTTP/1.0\r\nContent-Length: 5\r\n\r\n", 7)
	var read syntax.Head
	require.True(t, m.ReadRequest(&read))
	assert.Equal(t, "/"+strings.Repeat("p", bound-5), string(read.Target))
	assert.Equal(t, request.Version10, read.Version)
	assert.Equal(t, syntax.Length, read.Framing)
	m.Empty(pool)
	assert.Zero(t, pool.Lent())
}

func TestAnswerThatIsNotStored(t *testing.T) {
	m := Message{}
	for _, b := range []byte("HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n") {
		require.True(t, m.MayAnswer([]byte{b}))
		m.Keep(stream.NewPool(0), []byte{b}, bound)
	}
	var read syntax.Head
	require.True(t, m.ReadAnswer(&read))
	assert.Equal(t, 404, read.Status)
	assert.Equal(t, syntax.Chunked, read.Framing)
	m = Message{}
	m.Keep(stream.NewPool(0), []byte("HT"), bound)
	assert.False(t, m.MayAnswer([]byte("ML")))
}
