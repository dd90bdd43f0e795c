// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestGarbage of the size of many heads, with line ends and without: one record, and little
// that is held.
func TestGarbage(t *testing.T) {
	for name, garbage := range map[string]string{
		"heads":          strings.Repeat("?\n\n", 10_000),
		"lines":          strings.Repeat("?\n", 100_000) + "\n",
		"no line":        strings.Repeat("\x00", 1<<20),
		"line breaks":    strings.Repeat("\r\n", 10_000) + "?\n\n",
		"spaces":         strings.Repeat(" ", 1<<20) + "\n\n",
		"colons":         "?\n" + strings.Repeat(":\n", 100_000) + "\n",
		"folded":         "?\nContent-Length: 5\n" + strings.Repeat(" 5\n", 100_000) + "\n",
		"PROXY v1":       "PROXY " + strings.Repeat("x", 1<<16) + "\n\n",
		"PROXY v2":       "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + strings.Repeat("\n", 1<<14) + "?\n\n",
		"many encodings": "?\nTransfer-Encoding: " + strings.Repeat("chunked,", 100_000) + "x\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(Options{})
			for text := garbage; len(text) > 0; {
				n := min(len(text), 16<<10)
				w.send(stream.ToServer, text[:n])
				text = text[n:]
				require.Less(t, w.table.pool.Lent(), 128<<10)
			}
			w.send(stream.ToClient, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
			w.fin(stream.ToClient)
			w.fin(stream.ToServer)
			require.Len(t, w.last, 1, "%v", w.got)
			e := &w.last[0]
			assert.Equal(t, request.ProblemMalformedRequest, e.Problem)
			assert.Equal(t, 400, e.Status)
			w.table.Finish()
			assert.Zero(t, w.table.pool.Lent())
		})
	}
}

// TestRequestPerByte sends a byte a segment, of which each comes twice and in the wrong order.
func TestRequestPerByte(t *testing.T) {
	w := newWire(Options{})
	var want []string
	for id := range 50 {
		asked := fmt.Sprintf("POST /%d HTTP/1.1\r\nContent-Length: 2\r\n\r\nab", id)
		base, ack := w.next[stream.ToServer], w.next[stream.ToClient]
		for _, at := range append(odd(len(asked), 1), odd(len(asked), 0)...) {
			w.sendAt(stream.ToServer, base+uint32(at), asked[at:at+1], ack, false, false)
			w.sendAt(stream.ToServer, base+uint32(at), asked[at:at+1], ack, false, false)
		}
		for _, b := range strings.Split(ok[2:], "") {
			w.send(stream.ToClient, b)
		}
		want = append(want, fmt.Sprintf("POST /%d 200 2/2", id))
	}
	w.wants(t, want...)
	assert.Zero(t, w.table.Figures().Overlapped)
}

// odd are the numbers below n that leave a remainder.
func odd(n, remainder int) (numbers []int) {
	for i := remainder; i < n; i += 2 {
		numbers = append(numbers, i)
	}
	return numbers
}

// TestChunksOfOneByte and a line of extensions that is too long.
func TestChunksOfOneByte(t *testing.T) {
	w := newWire(Options{})
	w.send(stream.ToServer, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"+
		strings.Repeat("1;"+strings.Repeat("e", 100)+"=\"\\\"\"\r\nx\r\n", 300))
	w.send(stream.ToServer, "0\r\n"+strings.Repeat("T: v\r\n", 10_000)+"\r\n")
	w.send(stream.ToClient, ok[2:])
	w.wants(t, "POST / 200 300/2 cut")
	w.send(stream.ToServer, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;"+strings.Repeat("e", 30<<10))
	w.send(stream.ToServer, strings.Repeat("e", 30<<10)+"\r\nx\r\n0\r\n\r\n")
	w.send(stream.ToClient, ok[2:])
	w.table.Finish()
	assert.Zero(t, w.table.pool.Lent())
	assert.Zero(t, w.table.active())
	w.wants(t, "POST / 0 -1/0 packets_missed", "- 200 0/-1 request_not_seen")
}

// TestHeadSentAgain with another content: the first counts, also in what was kept of the head.
func TestHeadSentAgain(t *testing.T) {
	w := newWire(Options{})
	at, ack := w.next[stream.ToServer], w.next[stream.ToClient]
	w.send(stream.ToServer, "GET /first HTTP/1.1\r\nHost: a\r\n")
	w.sendAt(stream.ToServer, at, "GET /other HTTP/1.1\r\nHost: b\r\nX: y\r\n\r\n", ack, false, false)
	at, ack = w.next[stream.ToClient], w.next[stream.ToServer]
	w.send(stream.ToClient, "HTTP/1.1 200 OK\r\n")
	w.sendAt(stream.ToClient, at, "HTTP/1.1 500 OK\r\nContent-Length: 0\r\n\r\n", ack, false, false)
	require.Len(t, w.last, 1)
	e := &w.last[0]
	assert.Equal(t, "a", string(e.Request.Field("host")))
	assert.Equal(t, "y", string(e.Request.Field("x")))
	assert.Equal(t, 5+1+1, e.Overlapped)
	w.wants(t, "GET /first 200")
}

// TestTooManyUnderWay: requests beyond a bound are counted, and nothing grows.
func TestTooManyUnderWay(t *testing.T) {
	lost := 0
	w := newWire(Options{Options: stream.Options{Lost: func(reason Loss, n int) {
		assert.Equal(t, LossDepth, reason)
		lost += n
	}}})
	const n = 10_000
	for range n {
		w.send(stream.ToServer, get("/")[2:])
		require.Less(t, w.table.pool.Lent(), 2<<20)
	}
	w.table.Finish()
	assert.Equal(t, n, len(w.last)+lost)
	assert.NotZero(t, lost)
	assert.Zero(t, w.table.pool.Lent())
}

// TestManyPipelined: the other side says nothing for longer than the window of the kernel side.
func TestManyPipelined(t *testing.T) {
	w := newWire(Options{})
	var want []string
	for id := range 900 {
		w.send(stream.ToServer, fmt.Sprintf("GET /%d HTTP/1.1\r\nX: %s\r\n\r\n", id, strings.Repeat("y", 200)))
		want = append(want, fmt.Sprintf("GET /%d 200 0/2", id))
	}
	for range 900 {
		w.send(stream.ToClient, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("y", 200)+"\r\nContent-Length: 2\r\n\r\nok")
	}
	w.wants(t, want...)
}

// TestBodyEndsInTheSegmentOfAHead: the last byte of a body that did not cross has a time.
func TestBodyEndsInTheSegmentOfAHead(t *testing.T) {
	w := newWire(Options{})
	w.send(stream.ToServer, "POST /1 HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")
	crossed := w.crossed
	for range 9 {
		w.send(stream.ToServer, strings.Repeat("b", 10_000))
	}
	assert.Equal(t, crossed, w.crossed)
	w.send(stream.ToServer, strings.Repeat("b", 10_000)+get("/2")[2:])
	ended := w.now
	w.send(stream.ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("a", 50_000))
	w.send(stream.ToClient, strings.Repeat("a", 50_000)+ok[2:])
	require.Len(t, w.last, 2)
	assert.Equal(t, ended, w.last[0].Request.Ended)
	assert.Equal(t, ended, w.last[1].Request.Began)
	assert.Equal(t, w.now, w.last[0].Answer.Ended)
	w.wants(t, "POST /1 200 100000/100000", "GET /2 200 0/2")
}
